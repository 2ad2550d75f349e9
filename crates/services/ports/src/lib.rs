//! What one service asks of another, as traits over the caller's transaction.
