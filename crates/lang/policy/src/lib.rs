//! IAM policy documents: parsing and evaluation.
