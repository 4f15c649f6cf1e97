"""What crosses a boundary: names, states, messages, the storage layout, and the codes of every refusal."""
