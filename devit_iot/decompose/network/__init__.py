"""The networks that are trained, their losses, and what each of them sees."""
