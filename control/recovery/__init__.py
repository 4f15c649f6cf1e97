"""What an administrator does to what is published: retire one snapshot; rebuild the index; collect garbage."""
