//! `CreateFunction`, `GetFunction`, `GetFunctionConfiguration`, `ListFunctions`, `DeleteFunction`.

use std::sync::Arc;

use base_types::Fault;
use model_lambda::{
    Concurrency, CreateFunctionRequest, DeleteFunctionRequest, DeleteFunctionResponse, Error, FunctionCodeLocation,
    FunctionConfiguration, GetFunctionConfigurationRequest, GetFunctionRequest, GetFunctionResponse,
    ListFunctionsRequest, ListFunctionsResponse,
};
use services_kernel::{Audit, Cx, Quota, Quotas, Tags};
use store_api::{Direction, Tx};

use super::packages::Stored;
use crate::{
    configuration::Configuration,
    control::{Change, Control, Found, arn_of},
    describe::{self, Detail},
    error::function_not_found,
    function::{Function, LATEST, Version},
    layers::check_size,
    names::{NAME_LENGTH_MAX, Qualifier},
    switches::Switches,
    tables::{
        self, ALIASES, EVENT_INVOKES, FUNCTIONS, GARBAGE, Garbage, Place, RESERVED, SNAPSHOTS_DUE, UNSETTLED,
        URL_HOSTS, URLS, Usage, VERSIONS, VersionRef,
    },
};

/// Bytes of all packages of an account in a region (AWS: 75 GB).
pub(crate) const CODE_STORAGE: Quota = Quota { name: "lambda.code-storage-bytes", default: 80_530_636_800 };
/// Most functions in one page, whatever is asked for (AWS: 50).
const PAGE_MAX: usize = 50;
/// Most URLs of one function: one for each alias and one for `$LATEST`; deleting a function deletes them in one go.
const URLS_MAX: usize = 5000;

impl Control {
    pub(crate) async fn create_function(
        self: &Arc<Self>,
        cx: &Cx,
        input: CreateFunctionRequest,
    ) -> Result<FunctionConfiguration, Error> {
        const ACTION: &str = "lambda:CreateFunction";
        let named = self.name(cx, ACTION, &input.function_name, None)?;
        if named.name.len() > NAME_LENGTH_MAX {
            return Err(Error::invalid_parameter_value_exception(format!(
                "1 validation error detected: Value '{}' at 'functionName' failed to satisfy constraint: Member must have \
                 length less than or equal to {NAME_LENGTH_MAX}",
                named.name
            )));
        }
        self.authorize(cx, ACTION, &named.name)?;
        let configuration = self.configuration(&named.name, &input)?;
        let Some(zip) = input.code.zip_file else {
            return Err(Error::invalid_parameter_value_exception("Please provide a source for function code."));
        };
        let (control, cx) = (Arc::clone(self), cx.clone());
        let (publish, tags) = (input.publish == Some(true), input.tags.unwrap_or_default());
        let switches = Switches::read(&tags)?;
        let layers = input.layers.unwrap_or_default();
        self.transact_with_package(zip, move |tx, stored| {
            let layers = control.layers_used(tx, &cx, &layers)?;
            check_size(&stored.code, &layers, control.limits.unzipped_bytes_max)?;
            let configuration = Configuration { layers, ..configuration.clone() };
            let creation =
                Creation { name: &named.name, configuration: &configuration, stored, publish, switches: &switches };
            let answer = control.create(tx, &cx, &creation)?;
            super::tags::put(tx, &cx, &crate::names::function_arn(&cx.region, cx.account, &named.name), &tags)?;
            Audit::record(tx, &cx, ACTION)?;
            Ok(answer)
        })
        .await
    }

    fn configuration(&self, name: &str, input: &CreateFunctionRequest) -> Result<Configuration, Error> {
        let mut configuration = Configuration::new(name, &input.role);
        super::updates::Changes {
            runtime: input.runtime.as_deref(),
            role: None,
            handler: input.handler.as_deref(),
            description: input.description.as_deref(),
            timeout: input.timeout,
            memory_size: input.memory_size,
            environment: input.environment.as_ref(),
            ephemeral_storage: input.ephemeral_storage.as_ref(),
            tracing: input.tracing_config.as_ref(),
            logging: input.logging_config.as_ref(),
            kms_key_arn: input.kms_key_arn.as_deref(),
            snap_start: input.snap_start.as_ref(),
            dead_letter: input.dead_letter_config.as_ref(),
        }
        .apply(&mut configuration)?;
        if let Some(architecture) = input.architectures.as_ref().and_then(|list| list.first()) {
            configuration.architecture = architecture.as_str().to_owned();
        }
        configuration.check()?;
        self.check_runtime(&configuration.runtime)?;
        Ok(configuration)
    }

    fn create(&self, tx: &Tx, cx: &Cx, creation: &Creation<'_>) -> Result<FunctionConfiguration, Error> {
        let place = Place::from(cx);
        let key = place.function(creation.name);
        if FUNCTIONS.get(tx, &key)?.is_some() {
            return Err(Error::resource_conflict_exception(format!("Function already exist: {}", creation.name)));
        }
        if let Some(target) = &creation.configuration.dead_letter_arn {
            self.check_target(tx, cx, creation.name, &creation.configuration.role, target)?;
        }
        let function = Function { switches: creation.switches.clone(), ..Function::new(self.env.uuid(), tx.now()) };
        let mut found = Found { place, name: creation.name.to_owned(), function };
        let version =
            Version::latest(creation.stored.code.clone(), creation.configuration.clone(), self.env.uuid(), tx.now());
        self.put_version(tx, cx, &found, &version, Some(creation.stored))?;
        tx.add(&found.place.usage(Usage::Functions), 1)?;
        let mut answered = version.clone();
        if creation.publish {
            let published = found.function.publish(&version, None, self.env.uuid(), tx.now());
            self.put_version(tx, cx, &found, &published, Some(creation.stored))?;
            answered = published;
        }
        FUNCTIONS.put(tx, &key, &found.function)?;
        let content = version.run_revision(&found.function.switches);
        self.announce(tx, &found, Change::Latest { content })?;
        // AWS answers the unqualified ARN here, with the version beside it.
        Ok(describe::configuration(&found.place, &found.name, &answered, found.arn(), Detail::Full))
    }

    /// Stores a version that is new or has new code; counts its bytes and has it settled if it is not ready.
    pub(crate) fn put_version(
        &self,
        tx: &Tx,
        cx: &Cx,
        found: &Found,
        version: &Version,
        stored: Option<&Stored>,
    ) -> Result<(), Error> {
        let key = found.place.version(&found.function.incarnation, version.number);
        let before = VERSIONS.get(tx, &key)?;
        let before_bytes = before.as_ref().map_or(0, |before| before.code.bytes);
        if version.code.bytes != before_bytes {
            let usage = found.place.usage(Usage::CodeBytes);
            tx.add(&usage, signed(version.code.bytes) - signed(before_bytes))?;
            let quota = Quotas::get(tx, cx, CODE_STORAGE)?;
            if tx.snapshot_get(&usage)?.is_some_and(|bytes| counter(&bytes) > signed(quota)) {
                return Err(Error::code_storage_exceeded_exception("Code storage limit exceeded."));
            }
        }
        if let Some(stored) = stored {
            stored.attach(tx, &key)?;
        }
        tables::use_packages(tx, &key, before.as_ref(), version)?;
        VERSIONS.put(tx, &key, version)?;
        if version.is_unsettled() {
            let entry = VersionRef {
                account: found.place.account,
                region: found.place.region.clone(),
                name: found.name.clone(),
                incarnation: found.function.incarnation.clone(),
                number: version.number,
            };
            let (incarnation, number) = (&found.function.incarnation, version.number);
            if version.wants_snapshot() {
                SNAPSHOTS_DUE.put(tx, &found.place.snapshot_due(incarnation, number), &entry)?;
                tx.wake(&tables::snapshots_due(), usize::MAX)?;
            } else {
                UNSETTLED.put(tx, &found.place.unsettled(incarnation, number), &entry)?;
                tx.wake(&tables::unsettled(), usize::MAX)?;
            }
        }
        Ok(())
    }

    pub(crate) fn get_function(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionRequest,
    ) -> Result<GetFunctionResponse, Error> {
        let qualifier = input.qualifier.as_deref();
        let (found, qualifier) = self.require(tx, cx, "lambda:GetFunction", &input.function_name, qualifier)?;
        let version = found.resolve(tx, qualifier.as_ref())?.version;
        let arn = found.arn_as_asked(qualifier.as_ref());
        let tags = Tags::get(tx, cx, &found.arn())?;
        Ok(GetFunctionResponse {
            code: Some(FunctionCodeLocation {
                repository_type: Some("S3".to_owned()),
                location: Some(self.package_location(cx, &version.code.digest)),
                ..FunctionCodeLocation::default()
            }),
            configuration: Some(describe::configuration(&found.place, &found.name, &version, arn, Detail::Full)),
            tags: (!tags.is_empty()).then_some(tags),
            concurrency: found
                .function
                .reserved_concurrency
                .map(|reserved| Concurrency { reserved_concurrent_executions: i32::try_from(reserved).ok() }),
            ..GetFunctionResponse::default()
        })
    }

    pub(crate) fn get_function_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetFunctionConfigurationRequest,
    ) -> Result<FunctionConfiguration, Error> {
        const ACTION: &str = "lambda:GetFunctionConfiguration";
        let (found, qualifier) = self.require(tx, cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        let version = found.resolve(tx, qualifier.as_ref())?.version;
        let arn = found.arn_as_asked(qualifier.as_ref());
        Ok(describe::configuration(&found.place, &found.name, &version, arn, Detail::Full))
    }

    pub(crate) fn list_functions(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListFunctionsRequest,
    ) -> Result<ListFunctionsResponse, Error> {
        self.authorize(cx, "lambda:ListFunctions", "*")?;
        let all_versions = input.function_version.is_some();
        let scope = Self::scope(cx, "ListFunctions", if all_versions { "ALL" } else { "" });
        let cursor = self.cursor(&scope, input.marker.as_deref())?;
        let limit = page_size(input.max_items);
        let place = Place::from(cx);
        let mut page = Page::new(limit);
        // A cursor is the name of the last function, and with ALL the number of its last version.
        let (mut after, resume) = read_cursor(cursor.as_deref());
        if let (Some(name), Some(number)) = (&after, resume)
            && let Some(found) = self.find(tx, cx, name)?
        {
            self.list_into(tx, &found, Some(number), &mut page)?;
        }
        while !page.is_full() {
            let range = match &after {
                Some(name) => place.functions().prefix().after(&place.function(name)),
                None => place.functions().prefix(),
            };
            let functions = FUNCTIONS.scan(tx, &range, limit + 1, Direction::Forward)?;
            let last = functions.len() <= limit;
            for (key, function) in functions {
                let name = key.last_str().map_err(Fault::from)?;
                let found = Found { place: place.clone(), name: name.clone(), function };
                if all_versions {
                    self.list_into(tx, &found, None, &mut page)?;
                } else {
                    let arn = found.arn();
                    let version = found.latest(tx)?;
                    let item = describe::configuration(&place, &name, &version, arn, Detail::Listed);
                    page.push(item, name.clone().into_bytes());
                }
                after = Some(name);
                if page.is_full() {
                    break;
                }
            }
            if last {
                break;
            }
        }
        let (functions, next) = page.finish();
        Ok(ListFunctionsResponse {
            functions: Some(functions),
            next_marker: next.map(|cursor| self.tokens.seal(&scope, &cursor)),
        })
    }

    /// Adds the versions of a function behind number `after`, `$LATEST` first.
    fn list_into(&self, tx: &Tx, found: &Found, after: Option<u64>, page: &mut Page) -> Result<(), Error> {
        let all = found.place.versions(&found.function.incarnation);
        let range = match after {
            Some(number) => all.prefix().after(&all.clone().u64(number)),
            None => all.prefix(),
        };
        for (_, version) in VERSIONS.scan(tx, &range, page.room() + 1, Direction::Forward)? {
            let arn = found.qualified(&version.label());
            let item = describe::configuration(&found.place, &found.name, &version, arn, Detail::Listed);
            page.push(item, cursor_of(&found.name, version.number));
        }
        Ok(())
    }

    pub(crate) fn delete_function(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteFunctionRequest,
    ) -> Result<DeleteFunctionResponse, Error> {
        const ACTION: &str = "lambda:DeleteFunction";
        let named = self.name(cx, ACTION, &input.function_name, input.qualifier.as_deref())?;
        match &named.qualifier {
            Some(Qualifier::Latest) => {
                return Err(Error::invalid_parameter_value_exception(
                    "$LATEST version cannot be deleted without deleting the function.",
                ));
            }
            Some(Qualifier::Alias(_)) => {
                return Err(Error::invalid_parameter_value_exception(
                    "Deletion of aliases is not currently supported.",
                ));
            }
            None | Some(Qualifier::Version(_) | Qualifier::Nothing(_)) => {}
        }
        self.authorize(cx, ACTION, &named.name)?;
        let unqualified = crate::names::FunctionRef { name: named.name.clone(), qualifier: None };
        let found = self.find(tx, cx, &named.name)?.ok_or_else(|| function_not_found(&arn_of(cx, &unqualified)))?;
        match named.qualifier {
            None => self.delete_whole(tx, cx, &found)?,
            Some(Qualifier::Version(number)) if number != LATEST => self.delete_version(tx, &found, number)?,
            Some(_) => {}
        }
        Ok(DeleteFunctionResponse { status_code: Some(204) })
    }

    fn delete_version(&self, tx: &Tx, found: &Found, number: u64) -> Result<(), Error> {
        // A version that is not there is as good as deleted.
        let Some(version) = found.version(tx, number)? else { return Ok(()) };
        let aliases = found.place.aliases(&found.function.incarnation);
        let naming: Vec<String> = ALIASES
            .scan(tx, &aliases.prefix(), usize::MAX, Direction::Forward)?
            .into_iter()
            .filter(|(_, alias)| alias.names(number))
            .map(|(_, alias)| alias.name)
            .collect();
        if !naming.is_empty() {
            return Err(Error::resource_conflict_exception(format!(
                "Unable to delete version because the following aliases reference it: [{}]",
                naming.join(", ")
            )));
        }
        let key = found.place.version(&found.function.incarnation, number);
        VERSIONS.remove(tx, &key)?;
        tables::disuse_packages(tx, &key, &version)?;
        tx.add(&found.place.usage(Usage::CodeBytes), -signed(version.code.bytes))?;
        tx.delete(&found.place.unsettled(&found.function.incarnation, number))?;
        tx.delete(&found.place.snapshot_due(&found.function.incarnation, number))?;
        EVENT_INVOKES.remove(tx, &found.place.event_invoke(&found.function.incarnation, &number.to_string()))?;
        self.unprovision(tx, found, &number.to_string())?;
        if version.wants_snapshot() {
            let (effects, snapshot) = (Arc::clone(&self.effects), version.run_revision(&found.function.switches));
            tx.on_commit(move || effects.forget_snapshot(&snapshot))?;
        }
        // The same content published anew is a new version.
        if found.function.published.as_ref().is_some_and(|published| published.number == number) {
            let function = Function { published: None, ..found.function.clone() };
            FUNCTIONS.put(tx, &found.place.function(&found.name), &function)?;
        }
        self.announce(tx, found, Change::Routing)?;
        Ok(())
    }

    /// Removes what makes the function reachable; the rest of the incarnation is swept later.
    fn delete_whole(&self, tx: &Tx, cx: &Cx, found: &Found) -> Result<(), Error> {
        let incarnation = &found.function.incarnation;
        FUNCTIONS.remove(tx, &found.place.function(&found.name))?;
        for (_, url) in URLS.scan(tx, &found.place.urls(incarnation).prefix(), URLS_MAX, Direction::Forward)? {
            URL_HOSTS.remove(tx, &tables::url_host(&url.id))?;
        }
        tx.add(&found.place.usage(Usage::Functions), -1)?;
        for config in found.provisioned(tx)? {
            self.unprovision(tx, found, &config.qualifier)?;
        }
        if let Some(reserved) = found.function.reserved_concurrency {
            tx.add(&found.place.usage(Usage::ReservedConcurrency), -i64::from(reserved))?;
            RESERVED.remove(tx, &found.place.reserved(&found.name))?;
        }
        Tags::clear(tx, cx, &found.arn())?;
        let garbage = Garbage {
            account: found.place.account,
            region: found.place.region.clone(),
            incarnation: incarnation.clone(),
            mark: found.function.switches.mark(),
        };
        GARBAGE.put(tx, &tables::garbage_entry(incarnation), &garbage)?;
        tx.wake(&tables::garbage(), usize::MAX)?;
        self.announce(tx, found, Change::Deleted)?;
        Ok(())
    }
}

struct Creation<'a> {
    name: &'a str,
    configuration: &'a Configuration,
    stored: &'a Stored,
    publish: bool,
    switches: &'a Switches,
}

/// A page under construction: holds one item more than it gives, to know whether another page follows.
pub(crate) struct Page<T = FunctionConfiguration> {
    items: Vec<(T, Vec<u8>)>,
    limit: usize,
}

impl<T> Page<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { items: Vec::new(), limit }
    }

    pub(crate) fn push(&mut self, item: T, cursor: Vec<u8>) {
        if !self.is_full() {
            self.items.push((item, cursor));
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() > self.limit
    }

    pub(crate) fn room(&self) -> usize {
        (self.limit + 1).saturating_sub(self.items.len())
    }

    /// The page's items, and the cursor of the last one when more follow.
    pub(crate) fn finish(mut self) -> (Vec<T>, Option<Vec<u8>>) {
        let more = self.is_full();
        self.items.truncate(self.limit);
        let cursor = self.items.last().filter(|_| more).map(|(_, cursor)| cursor.clone());
        (self.items.into_iter().map(|(item, _)| item).collect(), cursor)
    }
}

/// How many items a page has: AWS never gives more than 50.
pub(crate) fn page_size(max_items: Option<i32>) -> usize {
    max_items.and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)
}

/// `name`, or `name`, a zero byte and the number.
fn cursor_of(name: &str, number: u64) -> Vec<u8> {
    [name.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

fn read_cursor(cursor: Option<&[u8]>) -> (Option<String>, Option<u64>) {
    let Some(cursor) = cursor else { return (None, None) };
    let (name, number) = match cursor.iter().position(|&byte| byte == 0) {
        Some(at) => (&cursor[..at], cursor.get(at + 1..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes)),
        None => (cursor, None),
    };
    (String::from_utf8(name.to_vec()).ok(), number)
}

/// Sizes are far below the limit of `i64`.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The value of a counter as stored.
pub(crate) fn counter(bytes: &[u8]) -> i64 {
    bytes.try_into().map_or(0, i64::from_be_bytes)
}
