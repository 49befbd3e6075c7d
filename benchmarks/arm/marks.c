// Hints that mean nothing to any CPU: instructions.c counts between them. Called through ctypes.
void start_counting(void) { __asm__ volatile("hint #112"); }
void stop_counting(void) { __asm__ volatile("hint #113"); }
