"""How accurate a bundle is on labelled images, also with parts lost."""
