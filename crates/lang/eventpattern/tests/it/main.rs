//! The language through its public surface: AWS's recorded refusals word by word, and matching case by case.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod matching;
mod property;
mod refusals;
mod rules;
