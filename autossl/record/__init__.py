"""What is written of a study, and how it is read: folder, clock, journal, stored files."""
