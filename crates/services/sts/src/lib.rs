//! AWS Security Token Service: who am I, and short-lived credentials.
