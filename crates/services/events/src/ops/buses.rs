//! Buses: create, describe, list, update, delete.

use base_types::Arn;
use model_events::{
    CreateEventBusRequest, CreateEventBusResponse, DeadLetterConfig, DeleteEventBusRequest, DescribeEventBusRequest,
    DescribeEventBusResponse, Error, EventBus, IncludeDetail, Level, ListEventBusesRequest, ListEventBusesResponse,
    LogConfig, UpdateEventBusRequest, UpdateEventBusResponse,
};
use services_kernel::{Cx, Quotas, Tags, resource_policy};
use store_api::{Direction, Tx};

use super::{BUSES as BUSES_MAX, pages::Asked, tags};
use crate::{
    EventBridge,
    error::{invalid, no_bus, taken, too_many},
    names::{BusName, DEFAULT_BUS},
    tables::{BUSES, Bus, EDITIONS, Place, RULES},
};

/// The bus, if it is there and the caller may do this to it.
pub(crate) fn permitted(cx: &Cx, tx: &Tx, name: &BusName, action: &str) -> Result<Bus, Error> {
    permitted_on(cx, tx, name, action, &name.arn())
}

/// The same for something on the bus (a rule), whose ARN is asked about.
pub(crate) fn permitted_on(cx: &Cx, tx: &Tx, name: &BusName, action: &str, resource: &Arn) -> Result<Bus, Error> {
    let found = find(tx, name)?;
    // One's own bus needs its policy only for what it denies.
    let text = found.as_ref().and_then(|bus| bus.policy.as_deref());
    if text.is_some() || !cx.owns(name.account) {
        let policy = text.and_then(resource_policy);
        cx.authorize_by::<Error>(action, resource, policy.as_deref(), &cx.conditions())?;
    }
    found.ok_or_else(|| no_bus(&name.name))
}

/// The bus, if it is there.
pub(crate) fn find(tx: &Tx, name: &BusName) -> Result<Option<Bus>, Error> {
    let row = BUSES.get(tx, &name.key(&BUSES))?;
    Ok(row.or_else(|| (name.name == DEFAULT_BUS).then(Bus::default)))
}

fn log_config(bus: &Bus) -> Option<LogConfig> {
    let config = LogConfig {
        include_detail: bus.log_detail.as_deref().and_then(|text| text.parse::<IncludeDetail>().ok()),
        level: bus.log_level.as_deref().and_then(|text| text.parse::<Level>().ok()),
    };
    (config != LogConfig::default()).then_some(config)
}

fn dead_letters(bus: &Bus) -> Option<DeadLetterConfig> {
    bus.dead_letter.clone().map(|arn| DeadLetterConfig { arn: Some(arn) })
}

fn set_log_config(bus: &mut Bus, config: Option<&LogConfig>) {
    if let Some(config) = config {
        bus.log_detail = config.include_detail.as_ref().map(|value| value.as_str().to_owned());
        bus.log_level = config.level.as_ref().map(|value| value.as_str().to_owned());
    }
}

impl EventBridge {
    pub(crate) fn add_bus(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateEventBusRequest,
    ) -> Result<CreateEventBusResponse, Error> {
        let name = BusName::own(cx, &input.name);
        let arn = name.arn();
        cx.authorize::<Error>(tx, "events:CreateEventBus", &arn)?;
        if input.name.contains('/') {
            return Err(invalid("Event bus name must not contain '/'."));
        }
        if find(tx, &name)?.is_some() {
            return Err(taken("Event bus", &input.name));
        }
        let rows = Place::of(cx).key(&BUSES);
        let most = usize::try_from(Quotas::get(tx, cx, BUSES_MAX)?).unwrap_or(usize::MAX);
        if tx.scan(&rows.prefix(), most.saturating_add(1), Direction::Forward)?.len() >= most {
            return Err(too_many());
        }
        let mut bus = Bus {
            created: tx.now(),
            modified: tx.now(),
            description: input.description.clone(),
            kms_key: input.kms_key_identifier.clone(),
            dead_letter: input.dead_letter_config.as_ref().and_then(|config| config.arn.clone()),
            ..Bus::default()
        };
        set_log_config(&mut bus, input.log_config.as_ref());
        BUSES.put(tx, &name.key(&BUSES), &bus)?;
        // Where there are others, the default bus has its place among them.
        let default = BusName::own(cx, DEFAULT_BUS).key(&BUSES);
        if BUSES.get(tx, &default)?.is_none() {
            BUSES.put(tx, &default, &Bus::default())?;
        }
        tags::put(tx, cx, &arn.to_string(), input.tags.iter().flatten())?;
        Ok(CreateEventBusResponse {
            event_bus_arn: Some(arn.to_string()),
            dead_letter_config: dead_letters(&bus),
            log_config: log_config(&bus),
            description: bus.description,
            kms_key_identifier: bus.kms_key,
        })
    }

    pub(crate) fn drop_bus(&self, cx: &Cx, tx: &Tx, input: &DeleteEventBusRequest) -> Result<(), Error> {
        let name = BusName::given(cx, Some(&input.name))?;
        cx.authorize::<Error>(tx, "events:DeleteEventBus", &name.arn())?;
        if name.name == DEFAULT_BUS {
            return Err(invalid(format!("Cannot delete event bus {DEFAULT_BUS}.")));
        }
        // AWS does not object to one that is not there.
        if find(tx, &name)?.is_none() {
            return Ok(());
        }
        if !tx.scan(&name.key(&RULES).prefix(), 1, Direction::Forward)?.is_empty() {
            return Err(invalid(format!("Event bus {} can't be deleted since it has rules.", name.name)));
        }
        BUSES.remove(tx, &name.key(&BUSES))?;
        EDITIONS.remove(tx, &name.key(&EDITIONS))?;
        Ok(Tags::clear(tx, cx, &name.arn().to_string())?)
    }

    pub(crate) fn bus(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeEventBusRequest,
    ) -> Result<DescribeEventBusResponse, Error> {
        let name = BusName::given(cx, input.name.as_deref())?;
        let bus = permitted(cx, tx, &name, "events:DescribeEventBus")?;
        Ok(DescribeEventBusResponse {
            name: Some(name.name.clone()),
            arn: Some(name.arn().to_string()),
            dead_letter_config: dead_letters(&bus),
            log_config: log_config(&bus),
            description: bus.description,
            kms_key_identifier: bus.kms_key,
            policy: bus.policy,
            creation_time: Some(bus.created),
            last_modified_time: Some(bus.modified),
            managed_by: None,
        })
    }

    pub(crate) fn buses_page(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListEventBusesRequest,
    ) -> Result<ListEventBusesResponse, Error> {
        let all = cx.arn("events", "event-bus/*");
        cx.authorize::<Error>(tx, "events:ListEventBuses", &all)?;
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        let asked = Asked { prefix: Some(prefix), token: input.next_token.as_deref(), limit: input.limit };
        let show = |name: &str, bus: Bus| {
            let own = BusName::own(cx, name);
            Ok(Some(EventBus {
                name: Some(name.to_owned()),
                arn: Some(own.arn().to_string()),
                description: bus.description,
                policy: bus.policy,
                creation_time: Some(bus.created),
                last_modified_time: Some(bus.modified),
                managed_by: None,
            }))
        };
        let rows = Place::of(cx).key(&BUSES);
        let scope = [cx.account.as_str(), cx.region.as_str(), "ListEventBuses", prefix];
        let (mut buses, next_token) = self.page(tx, &BUSES, &rows, &scope, asked, show)?;
        // The default bus is listed without a row, too.
        let own = BusName::own(cx, DEFAULT_BUS);
        let first = input.next_token.is_none() && DEFAULT_BUS.starts_with(prefix);
        if first && BUSES.get(tx, &own.key(&BUSES))?.is_none() {
            buses.insert(0, show(DEFAULT_BUS, Bus::default())?.unwrap_or_default());
        }
        Ok(ListEventBusesResponse { event_buses: Some(buses), next_token })
    }

    pub(crate) fn change_bus(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateEventBusRequest,
    ) -> Result<UpdateEventBusResponse, Error> {
        let name = BusName::given(cx, input.name.as_deref())?;
        let mut bus = permitted(cx, tx, &name, "events:UpdateEventBus")?;
        bus.modified = tx.now();
        bus.description.clone_from(&input.description);
        bus.kms_key.clone_from(&input.kms_key_identifier);
        bus.dead_letter = input.dead_letter_config.as_ref().and_then(|config| config.arn.clone());
        set_log_config(&mut bus, input.log_config.as_ref());
        BUSES.put(tx, &name.key(&BUSES), &bus)?;
        Ok(UpdateEventBusResponse {
            arn: Some(name.arn().to_string()),
            name: Some(name.name.clone()),
            dead_letter_config: dead_letters(&bus),
            log_config: log_config(&bus),
            kms_key_identifier: bus.kms_key,
            description: bus.description,
        })
    }
}
