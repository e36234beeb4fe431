"""Who may go on to a worker, who waits, and who is refused: limits that hold over all planes, and the queue."""
