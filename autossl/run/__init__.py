"""A study from beginning to end: settings, opening, the controller, and the jobs of one command."""
