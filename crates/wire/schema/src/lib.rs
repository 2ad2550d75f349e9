//! What a shape is on the wire: const schema tables, visitors and builders, constraints, errors.
