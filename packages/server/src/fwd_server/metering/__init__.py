"""What a call may and did cost: money, prices, limits, budgets. Pure: told the time, never asks it, and does no IO."""
