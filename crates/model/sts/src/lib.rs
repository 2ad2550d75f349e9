//! GENERATED: the sts service's shapes, constraints, errors and operations.
