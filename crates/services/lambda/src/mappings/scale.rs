//! How many batches of one mapping are worked off at once.
//!
//! AWS's rules (Lambda developer guide, "Configuring scaling behavior for SQS event source mappings"): five at first; as
//! long as messages wait, up to 300 more a minute, and never more than 1,250; fewer when the function is throttled. A
//! mapping may set its own bound; with provisioned pollers it starts with what they do.

use base_types::Timestamp;

use super::settings::Settings;

/// Batches at once at first.
const START: u64 = 5;
/// How many more there may be after a minute.
const PER_MINUTE: u64 = 300;
/// Batches at once.
const MOST: u64 = 1250;
/// Batches that one provisioned poller works off at once.
const PER_POLLER: u64 = 10;
/// Batches of all provisioned pollers at once.
const PROVISIONED_MOST: u64 = 20_000;
/// After so long without messages that wait, it begins anew.
const CALM_MILLIS: u64 = 60_000;
/// For so long after a throttled batch, nothing is added.
const PAUSE_MILLIS: u64 = 1000;

/// The present bound of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    /// In parts of [`PER_MINUTE`]s of a minute: batches at once, times 60,000.
    parts: u64,
    /// When it was counted last.
    counted: Timestamp,
    /// When messages waited last.
    pressed: Timestamp,
    /// Before this nothing is added.
    paused: Timestamp,
}

const PART: u64 = 60_000;

impl Scale {
    /// Of a mapping that begins.
    pub(crate) fn new(settings: &Settings, now: Timestamp) -> Self {
        Self { parts: start(settings) * PART, counted: now, pressed: now, paused: now }
    }

    /// Batches at once, now.
    pub(crate) fn limit(&self, settings: &Settings) -> usize {
        let limit = (self.parts / PART).clamp(1, most(settings));
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// A look is over: `pressed` when every batch that may be is under way and messages may wait still.
    pub(crate) fn looked(&mut self, settings: &Settings, pressed: bool, now: Timestamp) {
        let elapsed = u64::try_from(now.since(self.counted.max(self.paused)).as_millis()).unwrap_or(u64::MAX);
        self.counted = now;
        if pressed {
            let more = elapsed.min(PART).saturating_mul(PER_MINUTE);
            self.parts = self.parts.saturating_add(more).min(most(settings) * PART);
            self.pressed = now;
        } else if now.since(self.pressed).as_millis() >= u128::from(CALM_MILLIS) {
            self.parts = start(settings) * PART;
        }
    }

    /// A batch was throttled: half as many, and a pause.
    pub(crate) fn throttled(&mut self, now: Timestamp) {
        // Batches that are throttled together are one sign.
        if now >= self.paused {
            self.parts = (self.parts / 2).max(PART);
            self.paused = now + std::time::Duration::from_millis(PAUSE_MILLIS);
        }
    }
}

fn start(settings: &Settings) -> u64 {
    match &settings.pollers {
        Some(pollers) => u64::from(pollers.least) * PER_POLLER,
        None => START.min(most(settings)),
    }
}

fn most(settings: &Settings) -> u64 {
    match (&settings.pollers, settings.concurrency_max) {
        (Some(pollers), _) => (u64::from(pollers.most) * PER_POLLER).min(PROVISIONED_MOST),
        (None, Some(most)) => u64::from(most).min(MOST),
        (None, None) => MOST,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::settings::Pollers, *};

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn it_starts_with_five_and_grows_by_three_hundred_a_minute_while_messages_wait() {
        let settings = Settings::default();
        let mut scale = Scale::new(&settings, at(0));
        assert_eq!(scale.limit(&settings), 5);
        for (millis, expected) in [(200, 6), (400, 7), (1000, 10), (60_000, 305), (120_000, 605)] {
            scale.looked(&settings, true, at(millis));
            assert_eq!(scale.limit(&settings), expected, "{millis}");
        }
        // Two minutes without a look are not made up for.
        scale.looked(&settings, true, at(300_000));
        assert_eq!(scale.limit(&settings), 905);
        scale.looked(&settings, true, at(360_000));
        scale.looked(&settings, true, at(420_000));
        assert_eq!(scale.limit(&settings), 1250);
        scale.looked(&settings, false, at(479_999));
        assert_eq!(scale.limit(&settings), 1250);
        scale.looked(&settings, false, at(480_000));
        assert_eq!(scale.limit(&settings), 5);
    }

    #[test]
    fn a_bound_of_its_own_holds_at_once_and_provisioned_pollers_start_with_more() {
        let bounded = Settings { concurrency_max: Some(2), ..Settings::default() };
        let mut scale = Scale::new(&bounded, at(0));
        scale.looked(&bounded, true, at(60_000));
        assert_eq!(scale.limit(&bounded), 2);
        let unbounded = Settings::default();
        let mut grown = Scale::new(&unbounded, at(0));
        grown.looked(&unbounded, true, at(60_000));
        assert_eq!((grown.limit(&unbounded), grown.limit(&bounded)), (305, 2));
        let pollers = Pollers { least: 3, most: 4, group: None };
        let provisioned = Settings { pollers: Some(pollers), ..Settings::default() };
        let mut scale = Scale::new(&provisioned, at(0));
        assert_eq!(scale.limit(&provisioned), 30);
        scale.looked(&provisioned, true, at(60_000));
        assert_eq!(scale.limit(&provisioned), 40);
    }

    #[test]
    fn throttles_halve_it_and_pause_its_growth() {
        let settings = Settings::default();
        let mut scale = Scale::new(&settings, at(0));
        scale.looked(&settings, true, at(3000));
        assert_eq!(scale.limit(&settings), 20);
        scale.throttled(at(3000));
        scale.throttled(at(3001));
        assert_eq!(scale.limit(&settings), 10);
        scale.looked(&settings, true, at(4000));
        assert_eq!(scale.limit(&settings), 10);
        scale.looked(&settings, true, at(5000));
        assert_eq!(scale.limit(&settings), 15);
        for n in 0..10 {
            scale.throttled(at(10_000 + n * 1000));
        }
        assert_eq!(scale.limit(&settings), 1);
    }
}
