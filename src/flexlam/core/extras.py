"""Names of the exact states that worlds tell beside their frames: in steps, recorded columns and frame stores."""

ENDOGENOUS_STATE = "endogenous_state"
"""What the actions move: the agent's own state, float32 (n,)."""
GOAL_STATE = "goal_state"
"""Where the goal is, for worlds that have one, float32 (x, y) or (x, y, z)."""
ROUTE = "route"
"""Which of two ways was taken, in worlds that have two: -1 up, 0 none yet, 1 down, float32 (1,)."""
EXOGENOUS_STATE = "exogenous_state"
"""What moves for reasons of its own: the states of the overlays, one after another, float32 (n,)."""
EXOGENOUS_INNOVATION = "exogenous_innovation"
"""The part of the exogenous state that the state before did not foretell: the standard normal numbers that were drawn
for it, float32 (n,). It belongs to the frame that it led to, and is 0 in the first frame of an episode."""
