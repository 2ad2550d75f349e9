//! The launcher as a program of its own, for tests and benches; `pileus` itself carries it behind a hidden argument.

fn main() {
    compute_process::run_if_launcher();
}
