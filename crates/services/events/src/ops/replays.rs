//! Replays: start, cancel, describe, list.

use base_types::Arn;
use model_events::{
    CancelReplayRequest, CancelReplayResponse, DescribeReplayRequest, DescribeReplayResponse, Error,
    ListReplaysRequest, ListReplaysResponse, Replay as Shown, ReplayDestination, ReplayState as Word,
    StartReplayRequest, StartReplayResponse,
};
use services_kernel::{Cx, Quotas};
use store_api::{Direction, Tx};

use super::{REPLAYS as REPLAYS_MAX, archives::source_bus, pages::Asked};
use crate::{
    EventBridge,
    error::{bad_parameter, invalid, missing, taken, too_many},
    names::{BusName, Tagged, tagged},
    tables::{ARCHIVES, Mark, Place, REPLAYING, REPLAYS, Replay, ReplayState},
};

fn word(state: ReplayState) -> Word {
    match state {
        ReplayState::Starting => Word::Starting,
        ReplayState::Running => Word::Running,
        ReplayState::Cancelling => Word::Cancelling,
        ReplayState::Completed => Word::Completed,
        ReplayState::Cancelled => Word::Cancelled,
        ReplayState::Failed => Word::Failed,
    }
}

fn arn(cx: &Cx, name: &str) -> Arn {
    cx.arn("events", format!("replay/{name}"))
}

fn archive_arn(cx: &Cx, name: &str) -> String {
    cx.arn("events", format!("archive/{name}")).to_string()
}

impl EventBridge {
    pub(crate) fn begin_replay(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &StartReplayRequest,
    ) -> Result<StartReplayResponse, Error> {
        let name = &input.replay_name;
        cx.authorize::<Error>(tx, "events:StartReplay", &arn(cx, name))?;
        let place = Place::of(cx);
        let bus = source_bus(cx, tx, &input.destination.arn)?;
        if input.event_start_time >= input.event_end_time {
            return Err(bad_parameter("EventEndTime", Some("EventStartTime must be before EventEndTime.")));
        }
        let source: Option<Arn> = input.event_source_arn.parse().ok();
        let archive_name = source.as_ref().and_then(|arn| arn.resource.strip_prefix("archive/"));
        let archive_name = archive_name
            .ok_or_else(|| bad_parameter("EventSourceArn", Some("EventSourceArn must contain a valid archive ARN.")))?;
        let archive =
            ARCHIVES.require(tx, &place.named(&ARCHIVES, archive_name), || missing("Archive", archive_name))?;
        if archive.bus != bus.name {
            return Err(bad_parameter("Destination.Arn", Some("Cross event bus replay is not permitted.")));
        }
        if REPLAYS.get(tx, &place.named(&REPLAYS, name))?.is_some() {
            return Err(taken("Replay", name));
        }
        let rules = input.destination.filter_arns.as_ref().filter(|arns| !arns.is_empty());
        let rules = rules.map(|arns| arns.iter().map(|arn| rule_of(&bus, arn)).collect::<Result<Vec<_>, _>>());
        let running = REPLAYING.global_key(None).str(place.account.as_str()).str(place.region.as_str());
        let most = usize::try_from(Quotas::get(tx, cx, REPLAYS_MAX)?).unwrap_or(usize::MAX);
        if tx.scan(&running.prefix(), most.saturating_add(1), Direction::Forward)?.len() >= most {
            return Err(too_many());
        }
        let replay = Replay {
            archive: archive_name.to_owned(),
            archive_id: archive.id,
            bus: bus.name,
            rules: rules.transpose()?,
            description: input.description.clone(),
            state: ReplayState::Starting,
            reason: None,
            from: input.event_start_time,
            until: input.event_end_time,
            begun: tx.now(),
            ended: None,
            last: None,
            cursor: None,
        };
        REPLAYS.put(tx, &place.named(&REPLAYS, name), &replay)?;
        REPLAYING.put(tx, &place.within(&REPLAYING, name), &Mark {})?;
        tx.wake(&REPLAYING.global_key(None), 1)?;
        Ok(StartReplayResponse {
            replay_arn: Some(arn(cx, name).to_string()),
            state: Some(Word::Starting),
            state_reason: None,
            replay_start_time: Some(replay.begun),
        })
    }

    fn find_replay(&self, cx: &Cx, tx: &Tx, name: &str, action: &str) -> Result<Replay, Error> {
        cx.authorize::<Error>(tx, action, &arn(cx, name))?;
        REPLAYS.require(tx, &Place::of(cx).named(&REPLAYS, name), || missing("Replay", name))
    }

    pub(crate) fn cancel_replay_of(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CancelReplayRequest,
    ) -> Result<CancelReplayResponse, Error> {
        let name = &input.replay_name;
        let mut replay = self.find_replay(cx, tx, name, "events:CancelReplay")?;
        if !matches!(replay.state, ReplayState::Starting | ReplayState::Running) {
            return Err(Error::illegal_status_exception(format!(
                "Replay {name} is not in a valid state for this operation."
            )));
        }
        replay.state = ReplayState::Cancelling;
        REPLAYS.put(tx, &Place::of(cx).named(&REPLAYS, name), &replay)?;
        tx.wake(&REPLAYING.global_key(None), 1)?;
        Ok(CancelReplayResponse {
            replay_arn: Some(arn(cx, name).to_string()),
            state: Some(Word::Cancelling),
            state_reason: None,
        })
    }

    pub(crate) fn replay(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeReplayRequest,
    ) -> Result<DescribeReplayResponse, Error> {
        let name = &input.replay_name;
        let replay = self.find_replay(cx, tx, name, "events:DescribeReplay")?;
        let bus = BusName::own(cx, &replay.bus);
        let filters = replay.rules.map(|rules| rules.iter().map(|rule| bus.rule_arn(rule).to_string()).collect());
        Ok(DescribeReplayResponse {
            replay_name: Some(name.clone()),
            replay_arn: Some(arn(cx, name).to_string()),
            description: replay.description,
            state: Some(word(replay.state)),
            state_reason: replay.reason,
            event_source_arn: Some(archive_arn(cx, &replay.archive)),
            destination: Some(ReplayDestination { arn: bus.arn().to_string(), filter_arns: filters }),
            event_start_time: Some(replay.from),
            event_end_time: Some(replay.until),
            event_last_replayed_time: replay.last,
            replay_start_time: Some(replay.begun),
            replay_end_time: replay.ended,
        })
    }

    pub(crate) fn replays_page(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListReplaysRequest,
    ) -> Result<ListReplaysResponse, Error> {
        cx.authorize::<Error>(tx, "events:ListReplays", &arn(cx, "*"))?;
        let given = [input.name_prefix.is_some(), input.event_source_arn.is_some(), input.state.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(invalid(
                "At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix.",
            ));
        }
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let asked = Asked { prefix: Some(prefix), token: input.next_token.as_deref(), limit: input.limit };
        let source = input.event_source_arn.as_deref().unwrap_or_default();
        let state = input.state.as_ref().map(|state| state.as_str()).unwrap_or_default();
        let scope = [cx.account.as_str(), cx.region.as_str(), "ListReplays", prefix, source, state];
        let rows = Place::of(cx).key(&REPLAYS);
        let (replays, next_token) = self.page(tx, &REPLAYS, &rows, &scope, asked, |name, replay: Replay| {
            let from = archive_arn(cx, &replay.archive);
            if (!source.is_empty() && from != source) || (!state.is_empty() && word(replay.state).as_str() != state) {
                return Ok(None);
            }
            Ok(Some(Shown {
                replay_name: Some(name.to_owned()),
                event_source_arn: Some(from),
                state: Some(word(replay.state)),
                state_reason: replay.reason,
                event_start_time: Some(replay.from),
                event_end_time: Some(replay.until),
                event_last_replayed_time: replay.last,
                replay_start_time: Some(replay.begun),
                replay_end_time: replay.ended,
            }))
        })?;
        Ok(ListReplaysResponse { replays: Some(replays), next_token })
    }
}

/// The rule of this bus that an ARN names.
fn rule_of(bus: &BusName, arn: &str) -> Result<String, Error> {
    match tagged(arn) {
        Ok(Tagged::Rule(of, rule)) if of == *bus => Ok(rule),
        _ => Err(bad_parameter("Destination.FilterArns", Some("A filter has to be the ARN of a rule of the bus."))),
    }
}
