"""Step 11: what is recorded, held against the commits, the cursor and Dagster's runs."""
