//! The settings of SMS, which Pileus keeps and nobody sends by; and numbers that opted out, of which there are none.

use std::collections::BTreeMap;

use model_sns::{
    CheckIfPhoneNumberIsOptedOutInput, CheckIfPhoneNumberIsOptedOutResponse, Error, GetSMSAttributesInput,
    GetSMSAttributesResponse, ListPhoneNumbersOptedOutInput, ListPhoneNumbersOptedOutResponse, OptInPhoneNumberInput,
    OptInPhoneNumberResponse, SetSMSAttributesInput, SetSMSAttributesResponse,
};
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    Sns,
    error::invalid_because,
    tables::{SMS, SmsSettings},
};

const NAMES: [&str; 6] = [
    "DefaultSMSType",
    "DefaultSenderID",
    "DeliveryStatusIAMRole",
    "DeliveryStatusSuccessSamplingRate",
    "MonthlySpendLimit",
    "UsageReportS3Bucket",
];

/// Whether a text is a number in the form of E.164, with the signs that AWS passes over.
pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    (4..=15).contains(&count) && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b' '))
}

impl Sns {
    pub(crate) fn sms_settings(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetSMSAttributesInput,
    ) -> Result<GetSMSAttributesResponse, Error> {
        cx.authorize::<Error>(tx, "SNS:GetSMSAttributes", &cx.arn("sns", "*"))?;
        let mut attributes = SMS.get(tx, &SMS.key(cx.account, &cx.region))?.unwrap_or_default().attributes;
        if let Some(asked) = input.attributes.as_ref().filter(|asked| !asked.is_empty()) {
            attributes.retain(|name, _| asked.contains(name));
        }
        Ok(GetSMSAttributesResponse { attributes: Some(attributes) })
    }

    pub(crate) fn set_sms(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &SetSMSAttributesInput,
    ) -> Result<SetSMSAttributesResponse, Error> {
        cx.authorize::<Error>(tx, "SNS:SetSMSAttributes", &cx.arn("sns", "*"))?;
        check(&input.attributes)?;
        let key = SMS.key(cx.account, &cx.region);
        let mut settings: SmsSettings = SMS.get(tx, &key)?.unwrap_or_default();
        settings.attributes.extend(input.attributes.clone());
        SMS.put(tx, &key, &settings)?;
        Ok(SetSMSAttributesResponse {})
    }

    pub(crate) fn is_opted_out(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CheckIfPhoneNumberIsOptedOutInput,
    ) -> Result<CheckIfPhoneNumberIsOptedOutResponse, Error> {
        cx.authorize::<Error>(tx, "SNS:CheckIfPhoneNumberIsOptedOut", &cx.arn("sns", "*"))?;
        number(&input.phone_number)?;
        // Nobody got anything, so nobody opted out.
        Ok(CheckIfPhoneNumberIsOptedOutResponse { is_opted_out: Some(false) })
    }

    pub(crate) fn opted_out(
        &self,
        cx: &Cx,
        tx: &Tx,
        _: &ListPhoneNumbersOptedOutInput,
    ) -> Result<ListPhoneNumbersOptedOutResponse, Error> {
        cx.authorize::<Error>(tx, "SNS:ListPhoneNumbersOptedOut", &cx.arn("sns", "*"))?;
        Ok(ListPhoneNumbersOptedOutResponse { phone_numbers: Some(Vec::new()), next_token: None })
    }

    pub(crate) fn opt_in(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &OptInPhoneNumberInput,
    ) -> Result<OptInPhoneNumberResponse, Error> {
        cx.authorize::<Error>(tx, "SNS:OptInPhoneNumber", &cx.arn("sns", "*"))?;
        number(&input.phone_number)?;
        Ok(OptInPhoneNumberResponse {})
    }
}

fn number(text: &str) -> Result<(), Error> {
    if is_number(text) { Ok(()) } else { Err(invalid_because("PhoneNumber", "input incorrectly formatted")) }
}

fn check(attributes: &BTreeMap<String, String>) -> Result<(), Error> {
    for (name, value) in attributes {
        if !NAMES.contains(&name.as_str()) {
            return Err(Error::invalid_parameter_exception(format!("{name} is not a valid attribute")));
        }
        let letters = value.bytes().any(|byte| byte.is_ascii_alphabetic());
        let good = match name.as_str() {
            "DefaultSMSType" => matches!(value.as_str(), "Promotional" | "Transactional"),
            "DefaultSenderID" => {
                value.is_empty()
                    || (value.len() <= 11 && letters && value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            }
            "DeliveryStatusSuccessSamplingRate" => value.parse::<u8>().is_ok_and(|rate| rate <= 100),
            "MonthlySpendLimit" => value.parse::<u64>().is_ok(),
            _ => true,
        };
        if !good {
            return Err(Error::invalid_parameter_exception(format!("{name} is invalid")));
        }
    }
    Ok(())
}
