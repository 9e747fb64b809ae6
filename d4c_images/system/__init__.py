"""What a process needs of its operating system: clocks, signals, child processes, descriptors, terminals. Knows no image."""
