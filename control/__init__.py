"""The control plane's decisions. They are given connections and ports, and open none."""
