//! What a function host offers: environments, specifications, invocations.
