//! GENERATED: the lambda service's shapes, constraints, errors and operations.
