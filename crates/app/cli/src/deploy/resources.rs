//! What a function needs beside itself, as `pileus.toml` names it: tables, and what starts the function.
//!
//! Guarantee: what is named is there afterwards; what is there already is left as it is, but for what can be changed
//! without a loss (a stream or a time to live that is missing is added, a trigger is brought up to date). Nothing is
//! ever deleted.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cloud::{Cloud, object, segment},
    failure::{Failure, Outcome},
};

const TABLES: &str = "DynamoDB_20120810";
const BATCH: u32 = 100;

/// `[[table]]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableSpec {
    pub(crate) name: String,
    /// The hash key: `id`, or `id:N` for a number (`:B` for bytes).
    hash: String,
    /// The range key, if there is one.
    range: Option<String>,
    /// What its stream's records hold, in AWS's words; no stream when it is absent.
    stream: Option<String>,
    /// The attribute by which items expire.
    ttl: Option<String>,
}

/// `[[trigger]]`: what starts the function.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriggerSpec {
    /// The stream of this table,
    table: Option<String>,
    /// or this queue.
    queue: Option<String>,
    /// Where reading of a stream begins: `LATEST`, unless `TRIM_HORIZON` is said.
    start: Option<String>,
    /// Records of a batch.
    batch: Option<u32>,
    /// How long records are gathered, seconds.
    window: Option<u32>,
    /// Patterns of which a record has to match one.
    #[serde(default)]
    filter: Vec<String>,
    /// Whether the function says which records failed.
    report_items: Option<bool>,
    /// Whether a batch of a stream that failed is halved.
    bisect: Option<bool>,
    /// How often a batch of a stream is tried again.
    retries: Option<u32>,
    /// Batches of a shard at once.
    parallel: Option<u32>,
}

/// `id:N` as name and type.
fn key(text: &str) -> Outcome<(&str, &str)> {
    match text.split_once(':') {
        None => Ok((text, "S")),
        Some((name, r#type @ ("S" | "N" | "B"))) => Ok((name, r#type)),
        Some((_, other)) => {
            Err(Failure::new(format!("`{other}` is no type of a key")).remedy("S (text), N (number) or B (bytes)"))
        }
    }
}

impl TableSpec {
    fn creation(&self) -> Outcome<Value> {
        let mut keys = vec![(key(&self.hash)?, "HASH")];
        if let Some(range) = &self.range {
            keys.push((key(range)?, "RANGE"));
        }
        let definitions: Vec<Value> =
            keys.iter().map(|((name, r#type), _)| json!({ "AttributeName": name, "AttributeType": r#type })).collect();
        let schema: Vec<Value> =
            keys.iter().map(|((name, _), role)| json!({ "AttributeName": name, "KeyType": role })).collect();
        Ok(object(vec![
            ("TableName", json!(self.name)),
            ("AttributeDefinitions", json!(definitions)),
            ("KeySchema", json!(schema)),
            ("BillingMode", json!("PAY_PER_REQUEST")),
            ("StreamSpecification", self.stream_specification()),
        ]))
    }

    fn stream_specification(&self) -> Value {
        self.stream.as_ref().map_or(Value::Null, |view| json!({ "StreamEnabled": true, "StreamViewType": view }))
    }

    /// Makes the table, or what it lacks; its stream's ARN if it has one.
    pub(crate) async fn ensure(&self, cloud: &Cloud) -> Outcome<Option<String>> {
        let name = &self.name;
        let described = cloud.json(TABLES, "dynamodb", "DescribeTable", &json!({ "TableName": name })).await?;
        let mut table = match described {
            Ok(answer) => answer["Table"].clone(),
            Err(refusal) if refusal.is_not_found() => {
                let created = cloud.json(TABLES, "dynamodb", "CreateTable", &self.creation()?).await?;
                created.map_err(|refusal| refusal.failure(format!("cannot create the table `{name}`")))?
                    ["TableDescription"]
                    .clone()
            }
            Err(refusal) => return Err(refusal.failure(format!("cannot look for the table `{name}`"))),
        };
        self.check(&table)?;
        let view = table.pointer("/StreamSpecification/StreamViewType").and_then(Value::as_str).map(str::to_owned);
        match (&self.stream, view) {
            (Some(_), None) => {
                let change = json!({ "TableName": name, "StreamSpecification": self.stream_specification() });
                let updated = cloud.json(TABLES, "dynamodb", "UpdateTable", &change).await?;
                table = updated.map_err(|refusal| refusal.failure(format!("cannot give `{name}` a stream")))?
                    ["TableDescription"]
                    .clone();
            }
            (Some(wanted), Some(there)) if *wanted != there => {
                return Err(Failure::new(format!("the stream of `{name}` holds {there}, not {wanted}"))
                    .remedy("a stream's view cannot be changed: disable the stream first, or say what it holds"));
            }
            _ => {}
        }
        if let Some(attribute) = &self.ttl {
            self.ensure_ttl(cloud, attribute).await?;
        }
        Ok(table["LatestStreamArn"].as_str().map(str::to_owned))
    }

    /// A key cannot be changed.
    fn check(&self, table: &Value) -> Outcome<()> {
        let there = table["KeySchema"].as_array().into_iter().flatten();
        let there: Vec<&str> = there.filter_map(|key| key["AttributeName"].as_str()).collect();
        let mut wanted = vec![key(&self.hash)?.0];
        if let Some(range) = &self.range {
            wanted.push(key(range)?.0);
        }
        if there == wanted {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the key of the table `{}` is {}, not {}",
            self.name,
            there.join(", "),
            wanted.join(", ")
        ))
        .remedy("a table's key cannot be changed: name another table, or delete this one"))
    }

    async fn ensure_ttl(&self, cloud: &Cloud, attribute: &str) -> Outcome<()> {
        let name = &self.name;
        let found = cloud.json(TABLES, "dynamodb", "DescribeTimeToLive", &json!({ "TableName": name })).await?;
        let found = found.map_err(|refusal| refusal.failure(format!("cannot look at the time to live of `{name}`")))?;
        if found.pointer("/TimeToLiveDescription/AttributeName").and_then(Value::as_str) == Some(attribute) {
            return Ok(());
        }
        let specification = json!({ "Enabled": true, "AttributeName": attribute });
        let change = json!({ "TableName": name, "TimeToLiveSpecification": specification });
        let changed = cloud.json(TABLES, "dynamodb", "UpdateTimeToLive", &change).await?;
        changed.map(|_| ()).map_err(|refusal| refusal.failure(format!("cannot let items of `{name}` expire")))
    }
}

impl TriggerSpec {
    /// Connects its source with the function, or brings the connection up to date.
    pub(crate) async fn ensure(&self, cloud: &Cloud, function: &str, streams: &[(String, String)]) -> Outcome<()> {
        let source = self.source(cloud, streams).await?;
        let query = format!("FunctionName={}&EventSourceArn={}", segment(function), segment(&source));
        let mappings = "/2015-03-31/event-source-mappings";
        let listed = cloud.lambda(Method::GET, format!("{mappings}?{query}"), None).await?;
        let listed = listed.map_err(|refusal| refusal.failure(format!("cannot look for what starts `{function}`")))?;
        let known = listed["EventSourceMappings"][0]["UUID"].as_str().map(str::to_owned);
        let filters: Vec<Value> = self.filter.iter().map(|pattern| json!({ "Pattern": pattern })).collect();
        let reports = if self.report_items == Some(true) { json!(["ReportBatchItemFailures"]) } else { json!([]) };
        let mut members = vec![
            ("FunctionName", json!(function)),
            ("BatchSize", json!(self.batch.unwrap_or(if self.table.is_some() { BATCH } else { 10 }))),
            ("MaximumBatchingWindowInSeconds", json!(self.window)),
            ("FilterCriteria", json!({ "Filters": filters })),
            ("FunctionResponseTypes", reports),
            ("BisectBatchOnFunctionError", json!(self.bisect)),
            ("MaximumRetryAttempts", json!(self.retries)),
            ("ParallelizationFactor", json!(self.parallel)),
        ];
        let told = match known {
            Some(uuid) => cloud.lambda(Method::PUT, format!("{mappings}/{uuid}"), Some(object(members))).await?,
            None => {
                members.push(("EventSourceArn", json!(source)));
                if self.table.is_some() {
                    members.push(("StartingPosition", json!(self.start.as_deref().unwrap_or("LATEST"))));
                }
                cloud.lambda(Method::POST, format!("{mappings}/"), Some(object(members))).await?
            }
        };
        match told {
            Ok(_) => Ok(()),
            // It is on its way to what was said before.
            Err(refusal) if refusal.code == "ResourceInUseException" => Ok(()),
            Err(refusal) => Err(refusal.failure(format!("cannot let {source} start `{function}`"))),
        }
    }

    async fn source(&self, cloud: &Cloud, streams: &[(String, String)]) -> Outcome<String> {
        match (&self.table, &self.queue) {
            (Some(table), None) => {
                if let Some((_, stream)) = streams.iter().find(|(name, _)| name == table) {
                    return Ok(stream.clone());
                }
                let found = cloud.json(TABLES, "dynamodb", "DescribeTable", &json!({ "TableName": table })).await?;
                let found = found.map_err(|refusal| refusal.failure(format!("cannot look for the table `{table}`")))?;
                let stream = found.pointer("/Table/LatestStreamArn").and_then(Value::as_str).map(str::to_owned);
                stream.ok_or_else(|| {
                    Failure::new(format!("the table `{table}` has no stream"))
                        .remedy("give it one: stream = \"NEW_AND_OLD_IMAGES\" in its [[table]]")
                })
            }
            (None, Some(queue)) => {
                let failed =
                    |refusal: crate::cloud::Refusal| refusal.failure(format!("cannot look for the queue `{queue}`"));
                let found = cloud.json("AmazonSQS", "sqs", "GetQueueUrl", &json!({ "QueueName": queue })).await?;
                let url = found.map_err(failed)?["QueueUrl"].clone();
                let wanted = json!({ "QueueUrl": url, "AttributeNames": ["QueueArn"] });
                let told = cloud.json("AmazonSQS", "sqs", "GetQueueAttributes", &wanted).await?.map_err(failed)?;
                Ok(told.pointer("/Attributes/QueueArn").and_then(Value::as_str).unwrap_or_default().to_owned())
            }
            _ => Err(Failure::new("a [[trigger]] names a `table` or a `queue`, one of them")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_types() {
        for (text, expected) in
            [("id", Some(("id", "S"))), ("n:N", Some(("n", "N"))), ("b:B", Some(("b", "B"))), ("x:M", None)]
        {
            assert_eq!(key(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_table_is_made_as_it_is_described() {
        let text = "name = 't'\nhash = 'id'\nrange = 'at:N'\nstream = 'KEYS_ONLY'\nttl = 'until'\n";
        let table: TableSpec = toml::from_str(text).unwrap();
        let expected = json!({
            "TableName": "t",
            "AttributeDefinitions": [
                { "AttributeName": "id", "AttributeType": "S" },
                { "AttributeName": "at", "AttributeType": "N" },
            ],
            "KeySchema": [
                { "AttributeName": "id", "KeyType": "HASH" },
                { "AttributeName": "at", "KeyType": "RANGE" },
            ],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "KEYS_ONLY" },
        });
        assert_eq!(table.creation().unwrap(), expected);
        assert!(table.check(&expected).is_ok());
        let other = json!({ "KeySchema": [{ "AttributeName": "other", "KeyType": "HASH" }] });
        assert!(table.check(&other).unwrap_err().render().contains("is other, not id, at"));
    }
}
