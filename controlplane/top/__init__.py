"""`routerctl top`: a frame is a pure function of what was seen, of what its user chose and of the screen's size."""
