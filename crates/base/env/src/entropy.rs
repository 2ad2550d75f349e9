//! Randomness: a ChaCha20 generator, keyed by the system or by a test's seed.
//!
//! Guarantee: unpredictable when keyed by the system, also after the process has run for long (rekeyed every MiB).

#![expect(clippy::disallowed_methods, reason = "this is the one room that may ask the system for randomness")]

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// After this many bytes a system generator takes a fresh key.
const REKEY_BYTES: usize = 1 << 20;

pub(crate) struct Entropy {
    state: Mutex<State>,
    seeded: bool,
}

struct State {
    generator: ChaCha20Rng,
    drawn_bytes: usize,
}

impl Entropy {
    pub(crate) fn system() -> Self {
        Self { state: Mutex::new(State { generator: keyed_by_system(), drawn_bytes: 0 }), seeded: false }
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        let generator = ChaCha20Rng::seed_from_u64(seed);
        Self { state: Mutex::new(State { generator, drawn_bytes: 0 }), seeded: true }
    }

    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock();
        state.drawn_bytes += bytes.len();
        if !self.seeded && state.drawn_bytes > REKEY_BYTES {
            *state = State { generator: keyed_by_system(), drawn_bytes: 0 };
        }
        state.generator.fill_bytes(bytes);
    }
}

#[expect(clippy::panic, reason = "without the system's randomness no key is safe: there is nothing sane to go on with")]
fn keyed_by_system() -> ChaCha20Rng {
    let mut key = [0; 32];
    if let Err(error) = getrandom::fill(&mut key) {
        panic!("the operating system gave no randomness: {error}");
    }
    ChaCha20Rng::from_seed(key)
}
