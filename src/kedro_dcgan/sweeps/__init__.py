"""The search for better training parameters, and the trainings that it consists of."""
