"""HTTP over ``control/``: authentication, bodies, problem documents, routes. No decision is made here."""
