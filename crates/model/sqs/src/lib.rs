//! GENERATED: the sqs service's shapes, constraints, errors and operations.
