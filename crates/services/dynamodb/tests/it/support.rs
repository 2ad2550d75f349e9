//! A whole service on simulated time, and requests as the edge makes them: validated, then dispatched.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Region, Timestamp};
use model_dynamodb::*;
use services_dynamodb::{DynamoDbReconciler, DynamoDbStreams, StreamReconciler};
use services_kernel::{Cx, Dispatcher, PageTokens, Reconciler};
use store_api::{Direction, Family, KeyRange, Store, Tx};
use wire_schema::{Model, ServiceError, Survey, validate};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOW: u64 = 1_795_435_200_000;

pub(crate) type WireItem = BTreeMap<String, AttributeValue>;
/// The code and message of an error.
pub(crate) type Refusal = (String, String);

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    service: Arc<services_dynamodb::DynamoDb>,
    dispatcher: Dispatcher,
    pub(crate) cx: Cx,
    reconciler: DynamoDbReconciler,
    pub(crate) streams: Arc<DynamoDbStreams>,
    streams_reconciler: StreamReconciler,
}

macro_rules! operations {
    ($($method:ident: $operation:ident($request:ty) -> $response:ty;)*) => {
        impl World {
            $(pub(crate) async fn $method(&self, request: $request) -> Result<$response, Refusal> {
                match self.call(Request::$operation(Box::new(request))).await? {
                    Response::$operation(response) => Ok(*response),
                    other => panic!("{other:?}"),
                }
            })*
        }
    };
}

operations! {
    batch_statements: BatchExecuteStatement(BatchExecuteStatementInput) -> BatchExecuteStatementOutput;
    continuous: UpdateContinuousBackups(UpdateContinuousBackupsInput) -> UpdateContinuousBackupsOutput;
    create_backup: CreateBackup(CreateBackupInput) -> CreateBackupOutput;
    delete_backup: DeleteBackup(DeleteBackupInput) -> DeleteBackupOutput;
    describe_backup: DescribeBackup(DescribeBackupInput) -> DescribeBackupOutput;
    describe_continuous: DescribeContinuousBackups(DescribeContinuousBackupsInput) -> DescribeContinuousBackupsOutput;
    list_backups: ListBackups(ListBackupsInput) -> ListBackupsOutput;
    restore_backup: RestoreTableFromBackup(RestoreTableFromBackupInput) -> RestoreTableFromBackupOutput;
    restore_time: RestoreTableToPointInTime(RestoreTableToPointInTimeInput) -> RestoreTableToPointInTimeOutput;
    statement: ExecuteStatement(ExecuteStatementInput) -> ExecuteStatementOutput;
    statement_transaction: ExecuteTransaction(ExecuteTransactionInput) -> ExecuteTransactionOutput;
    transact_get: TransactGetItems(TransactGetItemsInput) -> TransactGetItemsOutput;
    create: CreateTable(CreateTableInput) -> CreateTableOutput;
    delete: DeleteItem(DeleteItemInput) -> DeleteItemOutput;
    delete_table: DeleteTable(DeleteTableInput) -> DeleteTableOutput;
    describe: DescribeTable(DescribeTableInput) -> DescribeTableOutput;
    get: GetItem(GetItemInput) -> GetItemOutput;
    put: PutItem(PutItemInput) -> PutItemOutput;
    query: Query(QueryInput) -> QueryOutput;
    scan: Scan(ScanInput) -> ScanOutput;
    transact: TransactWriteItems(TransactWriteItemsInput) -> TransactWriteItemsOutput;
    set_ttl: UpdateTimeToLive(UpdateTimeToLiveInput) -> UpdateTimeToLiveOutput;
    update: UpdateItem(UpdateItemInput) -> UpdateItemOutput;
    update_table: UpdateTable(UpdateTableInput) -> UpdateTableOutput;
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env::simulated(Timestamp::from_millis(NOW), 7);
        let store = Store::memory(&env);
        let service = services_dynamodb::DynamoDb::new(store.clone());
        let reconciler = service.reconciler();
        let streams = DynamoDbStreams::new(store.clone(), PageTokens::new(&[7; 32], env.clone()));
        Self {
            dispatcher: Dispatcher::new(store.clone()),
            cx: Cx::internal(AccountId::DEFAULT, Region::default(), "request"),
            service: Arc::new(service),
            reconciler,
            streams_reconciler: streams.reconciler(),
            streams: Arc::new(streams),
            env,
            store,
        }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Response, Refusal> {
        let violations = validate(Api::input(&request), &Survey::default());
        let outcome = if violations.is_empty() {
            self.dispatcher.dispatch::<Api, _>(&self.service, self.cx.clone(), request).await
        } else {
            Err(Error::violated(&violations, None))
        };
        outcome.map_err(|error| (error.code().to_owned(), error.message().to_owned()))
    }

    /// An operation on streams.
    pub(crate) async fn ask(
        &self,
        request: model_dynamodbstreams::Request,
    ) -> Result<model_dynamodbstreams::Response, Refusal> {
        use model_dynamodbstreams::{Api, Error};
        let violations = validate(Api::input(&request), &Survey::default());
        let outcome = if violations.is_empty() {
            self.dispatcher.dispatch::<Api, _>(&self.streams, self.cx.clone(), request).await
        } else {
            Err(Error::violated(&violations, None))
        };
        outcome.map_err(|error| (error.code().to_owned(), error.message().to_owned()))
    }

    /// How many records all streams hold.
    pub(crate) async fn changes(&self) -> usize {
        let all = |tx: &Tx| tx.scan(&KeyRange::family(Family::Stream), usize::MAX, Direction::Forward);
        self.store.view(all).await.unwrap().len()
    }

    /// One round of the background work.
    pub(crate) async fn round(&self) -> Option<Duration> {
        self.reconciler.round().await.unwrap()
    }

    /// Lets the background work do what is due now.
    pub(crate) async fn reconcile(&self) {
        let at_once = |next: Option<Duration>| next.is_some_and(|next| next <= Duration::from_millis(1));
        for _ in 0..1000 {
            let tables = self.reconciler.round().await.unwrap();
            let streams = self.streams_reconciler.round().await.unwrap();
            if !at_once(tables) && !at_once(streams) {
                return;
            }
        }
        panic!("the background work does not come to an end");
    }
}

pub(crate) fn s(text: &str) -> AttributeValue {
    AttributeValue { s: Some(text.to_owned()), ..AttributeValue::default() }
}

pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue { n: Some(number.to_string()), ..AttributeValue::default() }
}

pub(crate) fn item(entries: &[(&str, AttributeValue)]) -> WireItem {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(crate) fn definition(name: &str, r#type: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition { attribute_name: name.to_owned(), attribute_type: r#type }
}

pub(crate) fn keys(hash: &str, range: Option<&str>) -> Vec<KeySchemaElement> {
    let element = |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    std::iter::once(element(hash, KeyType::Hash)).chain(range.map(|range| element(range, KeyType::Range))).collect()
}

pub(crate) fn projection(r#type: ProjectionType, more: Option<&[&str]>) -> Projection {
    Projection {
        projection_type: Some(r#type),
        non_key_attributes: more.map(|more| more.iter().map(|name| (*name).to_owned()).collect()),
    }
}
