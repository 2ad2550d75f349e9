//! What invocations took: sums by function and hour.
