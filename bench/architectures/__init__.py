"""The field's three architectures for one task: a synchronous API, a queue, and Lakemill."""
