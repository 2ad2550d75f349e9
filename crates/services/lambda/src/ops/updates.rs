//! `UpdateFunctionCode`, `UpdateFunctionConfiguration`.

use std::sync::Arc;

use model_lambda::{
    DeadLetterConfig, Environment, EphemeralStorage, Error, FunctionConfiguration, LoggingConfig, SnapStart,
    SnapStartApplyOn, TracingConfig, UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest,
};
use services_kernel::{Audit, Cx};
use store_api::Tx;

use super::packages::Stored;
use crate::{
    configuration::Configuration,
    control::{Change, Control, refuse_qualifier},
    describe::{self, Detail},
    function::Code,
    layers::check_size,
    tables::FUNCTIONS,
};

/// The members that a creation and an update have in common; absent ones change nothing.
pub(crate) struct Changes<'a> {
    pub(crate) runtime: Option<&'a str>,
    pub(crate) role: Option<&'a str>,
    pub(crate) handler: Option<&'a str>,
    pub(crate) description: Option<&'a str>,
    pub(crate) timeout: Option<i32>,
    pub(crate) memory_size: Option<i32>,
    pub(crate) environment: Option<&'a Environment>,
    pub(crate) ephemeral_storage: Option<&'a EphemeralStorage>,
    pub(crate) tracing: Option<&'a TracingConfig>,
    pub(crate) logging: Option<&'a LoggingConfig>,
    pub(crate) kms_key_arn: Option<&'a str>,
    pub(crate) snap_start: Option<&'a SnapStart>,
    pub(crate) dead_letter: Option<&'a DeadLetterConfig>,
}

impl Changes<'_> {
    pub(crate) fn apply(&self, to: &mut Configuration) -> Result<(), Error> {
        let set = |field: &mut String, value: Option<&str>| {
            if let Some(value) = value {
                value.clone_into(field);
            }
        };
        set(&mut to.runtime, self.runtime);
        set(&mut to.role, self.role);
        set(&mut to.handler, self.handler);
        set(&mut to.description, self.description);
        let number = |field: &mut u32, value: Option<i32>| {
            if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                *field = value;
            }
        };
        number(&mut to.timeout_seconds, self.timeout);
        number(&mut to.memory_mib, self.memory_size);
        number(&mut to.tmp_mib, self.ephemeral_storage.map(|storage| storage.size));
        if let Some(environment) = self.environment {
            // An environment without variables is AWS's way to take them away.
            to.variables = Some(environment.variables.clone().unwrap_or_default());
        }
        if let Some(mode) = self.tracing.and_then(|tracing| tracing.mode) {
            mode.as_str().clone_into(&mut to.tracing_mode);
        }
        if let Some(logging) = self.logging {
            to.logging = to.logging.changed(
                logging.log_format.map(|format| format.as_str()),
                logging.application_log_level.map(|level| level.as_str()),
                logging.system_log_level.map(|level| level.as_str()),
                logging.log_group.as_deref(),
            )?;
        }
        if let Some(arn) = self.kms_key_arn {
            to.kms_key_arn = (!arn.is_empty()).then(|| arn.to_owned());
        }
        if let Some(apply_on) = self.snap_start.and_then(|snap_start| snap_start.apply_on) {
            to.snap_start = apply_on == SnapStartApplyOn::PublishedVersions;
        }
        if let Some(config) = self.dead_letter {
            // A configuration without a target is AWS's way to take it away.
            to.dead_letter_arn = config.target_arn.clone().filter(|arn| !arn.is_empty());
        }
        Ok(())
    }
}

impl Control {
    /// Whether this host can run a runtime that AWS knows.
    pub(crate) fn check_runtime(&self, runtime: &str) -> Result<(), Error> {
        let listing = self.effects.runtimes();
        if listing.chosen(runtime).is_some() {
            return Ok(());
        }
        let available = listing.available().join(", ");
        Err(Error::invalid_parameter_value_exception(if listing.missing.iter().any(|missing| missing == runtime) {
            format!(
                "The runtime {runtime} is not installed on this host. Installed are: {available}. Install its \
                 interpreter and start Pileus again; `pileus runtimes` lists what was found."
            )
        } else {
            format!("Pileus does not support the runtime {runtime} yet. Supported and installed are: {available}.")
        }))
    }

    pub(crate) async fn update_function_code(
        self: &Arc<Self>,
        cx: &Cx,
        input: UpdateFunctionCodeRequest,
    ) -> Result<FunctionConfiguration, Error> {
        const ACTION: &str = "lambda:UpdateFunctionCode";
        let named = self.name(cx, ACTION, &input.function_name, None)?;
        refuse_qualifier(&named)?;
        self.authorize(cx, ACTION, &named.name)?;
        let Some(zip) = input.zip_file.clone() else {
            return Err(Error::invalid_parameter_value_exception("Please provide a source for function code."));
        };
        let (control, cx) = (Arc::clone(self), cx.clone());
        if input.dry_run == Some(true) {
            let source = Source::Checked(self.check_package(zip).await?);
            return self.store.view(move |tx| control.change_code(tx, &cx, &input, &source)).await;
        }
        self.transact_with_package(zip, move |tx, stored| {
            let answer = control.change_code(tx, &cx, &input, &Source::Stored(stored.clone()))?;
            Audit::record(tx, &cx, ACTION)?;
            Ok(answer)
        })
        .await
    }

    fn change_code(
        &self,
        tx: &Tx,
        cx: &Cx,
        input: &UpdateFunctionCodeRequest,
        source: &Source,
    ) -> Result<FunctionConfiguration, Error> {
        let mut found = self.require_whole(tx, cx, "lambda:UpdateFunctionCode", &input.function_name)?;
        let mut latest = found.latest(tx)?;
        latest.check_change(input.revision_id.as_deref(), &found.arn())?;
        let mut configuration = latest.configuration.clone();
        if let Some(architecture) = input.architectures.as_ref().and_then(|list| list.first()) {
            configuration.architecture = architecture.as_str().to_owned();
        }
        check_size(source.code(), &configuration.layers, self.limits.unzipped_bytes_max)?;
        latest.begin_update(Some(source.code().clone()), Some(configuration), self.env.uuid(), tx.now());
        let mut answered = (latest.clone(), found.arn());
        if let Source::Stored(stored) = source {
            self.put_version(tx, cx, &found, &latest, Some(stored))?;
            if input.publish == Some(true) {
                let published = found.function.publish(&latest, None, self.env.uuid(), tx.now());
                self.put_version(tx, cx, &found, &published, Some(stored))?;
                FUNCTIONS.put(tx, &found.place.function(&found.name), &found.function)?;
                let arn = found.qualified(&published.number);
                answered = (published, arn);
            }
            let content = latest.run_revision(&found.function.switches);
            self.announce(tx, &found, Change::Latest { content })?;
        }
        Ok(describe::configuration(&found.place, &found.name, &answered.0, answered.1, Detail::Full))
    }

    pub(crate) fn update_function_configuration(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateFunctionConfigurationRequest,
    ) -> Result<FunctionConfiguration, Error> {
        let found = self.require_whole(tx, cx, "lambda:UpdateFunctionConfiguration", &input.function_name)?;
        let mut latest = found.latest(tx)?;
        let mut configuration = latest.configuration.clone();
        Changes {
            runtime: input.runtime.as_deref(),
            role: input.role.as_deref(),
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
        configuration.check()?;
        if configuration.runtime != latest.configuration.runtime {
            self.check_runtime(&configuration.runtime)?;
        }
        let letters = configuration.dead_letter_arn.as_ref();
        if let Some(target) = letters.filter(|_| configuration.dead_letter_arn != latest.configuration.dead_letter_arn)
        {
            self.check_target(tx, cx, &found.name, &configuration.role, target)?;
        }
        if let Some(arns) = &input.layers {
            configuration.layers = self.layers_used(tx, cx, arns)?;
            check_size(&latest.code, &configuration.layers, self.limits.unzipped_bytes_max)?;
        }
        latest.check_change(input.revision_id.as_deref(), &found.arn())?;
        latest.begin_update(None, Some(configuration), self.env.uuid(), tx.now());
        self.put_version(tx, cx, &found, &latest, None)?;
        let content = latest.run_revision(&found.function.switches);
        self.announce(tx, &found, Change::Latest { content })?;
        Ok(describe::configuration(&found.place, &found.name, &latest, found.arn(), Detail::Full))
    }
}

/// The new code: stored, or only checked for a dry run.
enum Source {
    Stored(Stored),
    Checked(Code),
}

impl Source {
    fn code(&self) -> &Code {
        match self {
            Self::Stored(stored) => &stored.code,
            Self::Checked(code) => code,
        }
    }
}
