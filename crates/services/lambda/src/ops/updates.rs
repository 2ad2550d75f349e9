//! `UpdateFunctionCode`, `UpdateFunctionConfiguration`.

use std::sync::Arc;

use model_lambda::{
    Environment, EphemeralStorage, Error, FunctionConfiguration, LoggingConfig, TracingConfig,
    UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest,
};
use services_kernel::{Audit, Cx};
use store_api::Tx;

use super::packages::Stored;
use crate::{
    configuration::Configuration,
    control::{Change, Control, refuse_qualifier},
    describe::{self, Detail},
    function::Code,
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
            self.announce(tx, &found, Change::Latest { content: latest.content.clone() })?;
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
        }
        .apply(&mut configuration)?;
        configuration.check()?;
        if configuration.runtime != latest.configuration.runtime {
            self.check_runtime(&configuration.runtime)?;
        }
        latest.check_change(input.revision_id.as_deref(), &found.arn())?;
        latest.begin_update(None, Some(configuration), self.env.uuid(), tx.now());
        self.put_version(tx, cx, &found, &latest, None)?;
        self.announce(tx, &found, Change::Latest { content: latest.content.clone() })?;
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
