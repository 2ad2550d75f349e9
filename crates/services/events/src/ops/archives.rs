//! Archives: create, describe, list, update, delete.
//!
//! An archive has a rule on its bus, which AWS shows, too: `Events-Archive-…`, managed by the archive.

use model_events::{
    Archive as Shown, ArchiveState, CreateArchiveRequest, CreateArchiveResponse, DeleteArchiveRequest,
    DeleteArchiveResponse, DescribeArchiveRequest, DescribeArchiveResponse, Error, ListArchivesRequest,
    ListArchivesResponse, UpdateArchiveRequest, UpdateArchiveResponse,
};
use services_kernel::{Cx, Quotas};
use store_api::{Direction, Tx};

use super::{ARCHIVES as ARCHIVES_MAX, buses, pages::Asked, rules::parse};
use crate::{
    EventBridge,
    error::{invalid, missing, no_bus, taken, too_many},
    names::{ARCHIVE_MANAGER, ARCHIVE_RULE_PREFIX, BusName},
    tables::{ARCHIVES, Archive, Mark, Place, REPLAYING, REPLAYS, RETAINED, RULES, Rule, TRASH, Trash},
};

/// The bus that an ARN in a request names, if it is there.
pub(crate) fn source_bus(cx: &Cx, tx: &Tx, arn: &str) -> Result<BusName, Error> {
    let missing = || no_bus(arn.rsplit('/').next().unwrap_or(arn));
    let bus = arn.parse().ok().and_then(|arn| BusName::of_arn(&arn)).ok_or_else(missing)?;
    if bus.account != cx.account || bus.region != cx.region || buses::find(tx, &bus)?.is_none() {
        return Err(missing());
    }
    Ok(bus)
}

/// The pattern of an archive's rule: what the archive asks for, and no event that comes back.
fn rule_pattern(pattern: Option<&str>) -> Result<String, Error> {
    let mut asked: serde_json::Map<String, serde_json::Value> = match pattern {
        Some(text) => serde_json::from_str(text).map_err(|_| invalid("Parameter EventPattern is not valid."))?,
        None => serde_json::Map::new(),
    };
    asked.insert("replay-name".to_owned(), serde_json::json!([{ "exists": false }]));
    Ok(serde_json::Value::Object(asked).to_string())
}

fn arn(cx: &Cx, name: &str) -> String {
    cx.arn("events", format!("archive/{name}")).to_string()
}

impl EventBridge {
    pub(crate) fn add_archive(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateArchiveRequest,
    ) -> Result<CreateArchiveResponse, Error> {
        cx.authorize::<Error>(
            tx,
            "events:CreateArchive",
            &cx.arn("events", format!("archive/{}", input.archive_name)),
        )?;
        let place = Place::of(cx);
        let key = place.named(&ARCHIVES, &input.archive_name);
        if ARCHIVES.get(tx, &key)?.is_some() {
            return Err(taken("Archive", &input.archive_name));
        }
        let bus = source_bus(cx, tx, &input.event_source_arn)?;
        if let Some(pattern) = &input.event_pattern {
            parse(pattern)?;
        }
        let most = usize::try_from(Quotas::get(tx, cx, ARCHIVES_MAX)?).unwrap_or(usize::MAX);
        if tx.scan(&place.key(&ARCHIVES).prefix(), most.saturating_add(1), Direction::Forward)?.len() >= most {
            return Err(too_many());
        }
        let mut id = [0; 16];
        self.env.fill(&mut id);
        let archive = Archive {
            id,
            created: tx.now(),
            bus: bus.name.clone(),
            description: input.description.clone(),
            pattern: input.event_pattern.clone(),
            days: days(input.retention_days),
            kms_key: input.kms_key_identifier.clone(),
        };
        self.write_archive(cx, tx, &place, &input.archive_name, &archive)?;
        Ok(CreateArchiveResponse {
            archive_arn: Some(arn(cx, &input.archive_name)),
            state: Some(ArchiveState::Enabled),
            state_reason: None,
            creation_time: Some(archive.created),
        })
    }

    /// Writes an archive and its rule.
    fn write_archive(&self, cx: &Cx, tx: &Tx, place: &Place, name: &str, archive: &Archive) -> Result<(), Error> {
        ARCHIVES.put(tx, &place.named(&ARCHIVES, name), archive)?;
        let retained = place.within(&RETAINED, name);
        if archive.days > 0 {
            RETAINED.put(tx, &retained, &Mark {})?;
        } else {
            RETAINED.remove(tx, &retained)?;
        }
        let bus = BusName::own(cx, &archive.bus);
        let rule_name = format!("{ARCHIVE_RULE_PREFIX}{name}");
        let before = RULES.get(tx, &bus.rule(&rule_name))?;
        let text = rule_pattern(archive.pattern.as_deref())?;
        let pattern = parse(&text)?;
        let rule = Rule {
            pattern: Some(text),
            schedule: None,
            state: "ENABLED".to_owned(),
            description: None,
            role: None,
            managed_by: Some(ARCHIVE_MANAGER.to_owned()),
            created_by: cx.account.to_string(),
            since: archive.created,
            next: None,
            archive: Some(name.to_owned()),
            bytes: 0,
        };
        self.store_rule(cx, tx, (&bus, &rule_name), before.as_ref(), rule, Some(pattern))
    }

    fn find_archive(&self, cx: &Cx, tx: &Tx, name: &str, action: &str) -> Result<Archive, Error> {
        cx.authorize::<Error>(tx, action, &cx.arn("events", format!("archive/{name}")))?;
        ARCHIVES.require(tx, &Place::of(cx).named(&ARCHIVES, name), || missing("Archive", name))
    }

    /// How many events an archive has, and how large they are.
    fn kept(&self, cx: &Cx, tx: &Tx, archive: &Archive) -> Result<(i64, i64), Error> {
        let [counts, sizes] = Place::of(cx).kept_counters(&archive.id);
        Ok((tx.counter(&counts)?, tx.counter(&sizes)?))
    }

    pub(crate) fn archive(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeArchiveRequest,
    ) -> Result<DescribeArchiveResponse, Error> {
        let archive = self.find_archive(cx, tx, &input.archive_name, "events:DescribeArchive")?;
        let (events, bytes) = self.kept(cx, tx, &archive)?;
        Ok(DescribeArchiveResponse {
            archive_arn: Some(arn(cx, &input.archive_name)),
            archive_name: Some(input.archive_name.clone()),
            event_source_arn: Some(BusName::own(cx, &archive.bus).arn().to_string()),
            description: archive.description,
            event_pattern: archive.pattern,
            state: Some(ArchiveState::Enabled),
            state_reason: None,
            kms_key_identifier: archive.kms_key,
            retention_days: i32::try_from(archive.days).ok(),
            size_bytes: Some(bytes),
            event_count: Some(events),
            creation_time: Some(archive.created),
        })
    }

    pub(crate) fn archives_page(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListArchivesRequest,
    ) -> Result<ListArchivesResponse, Error> {
        cx.authorize::<Error>(tx, "events:ListArchives", &cx.arn("events", "archive/*"))?;
        let given = [input.name_prefix.is_some(), input.event_source_arn.is_some(), input.state.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(invalid(
                "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.",
            ));
        }
        let source = input.event_source_arn.as_deref().map(|arn| source_bus(cx, tx, arn)).transpose()?;
        let other_state = input.state.as_ref().is_some_and(|state| *state != ArchiveState::Enabled);
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let asked = Asked { prefix: Some(prefix), token: input.next_token.as_deref(), limit: input.limit };
        let narrowed = source.as_ref().map(|bus| bus.name.as_str()).unwrap_or_default();
        let scope = [cx.account.as_str(), cx.region.as_str(), "ListArchives", prefix, narrowed];
        let rows = Place::of(cx).key(&ARCHIVES);
        let (archives, next_token) = self.page(tx, &ARCHIVES, &rows, &scope, asked, |name, archive: Archive| {
            if other_state || source.as_ref().is_some_and(|bus| bus.name != archive.bus) {
                return Ok(None);
            }
            let (events, bytes) = self.kept(cx, tx, &archive)?;
            Ok(Some(Shown {
                archive_name: Some(name.to_owned()),
                event_source_arn: Some(BusName::own(cx, &archive.bus).arn().to_string()),
                state: Some(ArchiveState::Enabled),
                state_reason: None,
                retention_days: i32::try_from(archive.days).ok(),
                size_bytes: Some(bytes),
                event_count: Some(events),
                creation_time: Some(archive.created),
            }))
        })?;
        Ok(ListArchivesResponse { archives: Some(archives), next_token })
    }

    pub(crate) fn change_archive(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateArchiveRequest,
    ) -> Result<UpdateArchiveResponse, Error> {
        if input.event_pattern.is_none()
            && input.retention_days.is_none()
            && input.description.is_none()
            && input.kms_key_identifier.is_none()
        {
            return Err(invalid("At least one of EventPattern, RetentionDays or Description must be provided."));
        }
        let mut archive = self.find_archive(cx, tx, &input.archive_name, "events:UpdateArchive")?;
        if let Some(pattern) = &input.event_pattern {
            parse(pattern)?;
            archive.pattern = Some(pattern.clone());
        }
        if input.retention_days.is_some() {
            archive.days = days(input.retention_days);
        }
        if input.description.is_some() {
            archive.description.clone_from(&input.description);
        }
        if input.kms_key_identifier.is_some() {
            archive.kms_key = input.kms_key_identifier.clone().filter(|key| !key.is_empty());
        }
        self.write_archive(cx, tx, &Place::of(cx), &input.archive_name, &archive)?;
        Ok(UpdateArchiveResponse {
            archive_arn: Some(arn(cx, &input.archive_name)),
            state: Some(ArchiveState::Enabled),
            state_reason: None,
            creation_time: Some(archive.created),
        })
    }

    pub(crate) fn drop_archive(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteArchiveRequest,
    ) -> Result<DeleteArchiveResponse, Error> {
        let name = &input.archive_name;
        let archive = self.find_archive(cx, tx, name, "events:DeleteArchive")?;
        let place = Place::of(cx);
        let prefix = REPLAYING.global_key(None).str(place.account.as_str()).str(place.region.as_str());
        for (key, _) in tx.scan(&prefix.prefix(), 1000, Direction::Forward)? {
            let replay = key.last_str().map_err(base_types::Fault::from)?;
            if REPLAYS.get(tx, &place.named(&REPLAYS, &replay))?.is_some_and(|replay| replay.archive == *name) {
                return Err(invalid(format!("Archive {name} cannot be deleted while it is replayed by {replay}.")));
            }
        }
        ARCHIVES.remove(tx, &place.named(&ARCHIVES, name))?;
        RETAINED.remove(tx, &place.within(&RETAINED, name))?;
        let trash = Trash { account: place.account, region: place.region.clone() };
        TRASH.put(tx, &TRASH.global_key(None).bytes(&archive.id), &trash)?;
        tx.wake(&TRASH.global_key(None), 1)?;
        let (bus, rule_name) = (BusName::own(cx, &archive.bus), format!("{ARCHIVE_RULE_PREFIX}{name}"));
        if let Some(rule) = RULES.get(tx, &bus.rule(&rule_name))? {
            self.remove_targets_of(tx, &bus, &rule_name)?;
            self.remove_rule(tx, &bus, &rule_name, &rule)?;
        }
        Ok(DeleteArchiveResponse {})
    }
}

fn days(asked: Option<i32>) -> u32 {
    asked.and_then(|days| u32::try_from(days).ok()).unwrap_or_default()
}
