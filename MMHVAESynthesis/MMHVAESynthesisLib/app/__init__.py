"""What the panel needs beyond Qt's widgets: jobs in a child process, guesses, settings, texts, and its sections."""
