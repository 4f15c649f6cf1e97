"""The log as the control plane sees it: what the sensor read is judged once, and what cannot be is kept aside."""
