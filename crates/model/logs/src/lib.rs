//! GENERATED: the logs service's shapes, constraints, errors and operations.
