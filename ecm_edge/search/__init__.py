"""The main job: many candidates under a board's budgets, each trained as far as it is worth."""
