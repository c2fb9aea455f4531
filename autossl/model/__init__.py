"""What is exported: encoder and head as folders, their cards, and how they are read again."""
