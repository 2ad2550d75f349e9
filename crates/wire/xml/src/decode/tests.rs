//! Documents of every kind of member, hostile ones, and random bytes.

use base_types::Timestamp;
use wire_schema::{Schema, Tolerated, structure};

use super::*;

static TEXT: Schema = Schema::string("Text");
static COUNT: Schema = Schema::integer("Count");
static WHEN: Schema = Schema::timestamp("When");
static TAG: Schema =
    Schema::structure("Tag", &[Member::new("Key", &TEXT).required(), Member::new("Value", &TEXT).required()]);
static TAGS: Schema = Schema::list("Tags", &TAG).item_name("Tag");
static PARTS: Schema = Schema::list("Parts", &COUNT).flattened();
static NAMES: Schema = Schema::map("Names", &TEXT, &TEXT);
static GRANTEE: Schema = Schema::structure(
    "Grantee",
    &[Member::new("ID", &TEXT), Member::new("Type", &TEXT).wire("xsi:type").xml_attribute().required()],
)
.xml_prefix("xsi", "http://www.w3.org/2001/XMLSchema-instance");
static DOCUMENT: Schema = Schema::structure(
    "Document",
    &[
        Member::new("Title", &TEXT),
        Member::new("When", &WHEN),
        Member::new("TagSet", &TAGS),
        Member::new("Parts", &PARTS).wire("Part").flattened(),
        Member::new("Names", &NAMES),
        Member::new("Grantee", &GRANTEE),
        Member::new("Header", &TEXT).at(Location::Header).refused(Tolerated::Nothing),
        Member::new("Inner", &INNER),
    ],
);
static INNER: Schema = Schema::structure("Inner", &[Member::new("Inner", &INNER)]);

#[derive(Clone, Debug, Default, PartialEq)]
struct Tag {
    key: String,
    value: String,
}
structure!(Tag, TAG, { 0 => key, 1 => value });

#[derive(Clone, Debug, Default, PartialEq)]
struct Grantee {
    id: Option<String>,
    kind: String,
}
structure!(Grantee, GRANTEE, { 0 => id, 1 => kind });

#[derive(Clone, Debug, Default, PartialEq)]
struct Inner {
    inner: Option<Box<Inner>>,
}
structure!(Inner, INNER, { 0 => inner });

#[derive(Clone, Debug, Default, PartialEq)]
struct Document {
    title: Option<String>,
    when: Option<Timestamp>,
    tags: Option<Vec<Tag>>,
    parts: Option<Vec<i32>>,
    names: Option<std::collections::BTreeMap<String, String>>,
    grantee: Option<Grantee>,
    header: Option<String>,
    inner: Option<Inner>,
}
structure!(Document, DOCUMENT, {
    0 => title, 1 => when, 2 => tags, 3 => parts, 4 => names, 5 => grantee, 6 => header, 7 => inner
});

fn read(text: &str) -> Result<Document, String> {
    let (mut document, mut seen, mut survey) = (Document::default(), Seen::default(), Survey::default());
    match decode(text.as_bytes(), &["Document"], &mut document, &mut seen, &mut survey) {
        Ok(()) => Ok(document),
        Err(error) => Err(error.0),
    }
}

#[test]
fn a_document_is_read_and_written_back() {
    let text = r#"<?xml version="1.0" encoding="UTF-8"?>
        <d:Document xmlns:d="urn:x" xmlns="urn:x">
          <!-- nothing -->
          <Title>a &amp; b &#x41;<![CDATA[<c>]]></Title>
          <When> 2026-11-23T12:00:00Z </When>
          <TagSet><Tag><Key>k</Key><Value></Value></Tag><Tag><Key>l</Key><Value/></Tag></TagSet>
          <Part>1</Part><Part>2</Part>
          <Names><entry><key>a</key><value>1</value></entry></Names>
          <Grantee xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:type="CanonicalUser"><ID>i</ID></Grantee>
          <Part>3</Part>
        </d:Document>
    "#;
    let document = read(text).unwrap();
    let tag = |key: &str| Tag { key: key.to_owned(), value: String::new() };
    assert_eq!(
        document,
        Document {
            title: Some("a & b A<c>".to_owned()),
            when: Some(Timestamp::from_millis(1_795_435_200_000)),
            tags: Some(vec![tag("k"), tag("l")]),
            parts: Some(vec![1, 2, 3]),
            names: Some([("a".to_owned(), "1".to_owned())].into()),
            grantee: Some(Grantee { id: Some("i".to_owned()), kind: "CanonicalUser".to_owned() }),
            header: None,
            inner: None,
        }
    );
    let written = crate::encode(crate::Root { name: "Document", namespace: Some("urn:x") }, &document);
    assert!(written.contains("<When>2026-11-23T12:00:00.000Z</When>"), "{written}");
    assert!(written.contains(r#"xsi:type="CanonicalUser"><ID>"#), "{written}");
    assert_eq!(read(&written).as_ref(), Ok(&document));
}

#[test]
fn what_is_no_such_document_is_refused() {
    for (text, expected) in [
        ("", "no element"),
        ("<Document>", "ends too early"),
        ("<Document></Other>", "not XML"),
        ("<Other/>", "not `Document`"),
        ("<Document/><Document/>", "more than one"),
        ("<Document/>text", "text outside"),
        ("<Document>text</Document>", "text where elements"),
        ("<Document><Unknown/></Document>", "no element `Unknown`"),
        ("<Document><Header>x</Header></Document>", "no element `Header`"),
        ("<Document><Title>a</Title><Title>b</Title></Document>", "occurs twice"),
        ("<Document><Title><b/></Title></Document>", "element where text"),
        ("<Document><Part>x</Part></Document>", "an Integer"),
        ("<Document><TagSet><Other/></TagSet></Document>", "`Tag` belongs"),
        ("<Document><Title>&unknown;</Title></Document>", "&unknown;"),
        ("<Document><Title>&#0;</Title></Document>", "&#0;"),
        ("<!DOCTYPE d [<!ENTITY a \"b\">]><Document><Title>&a;</Title></Document>", "document type"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let deep = format!("<Document>{}{}</Document>", "<Inner>".repeat(100), "</Inner>".repeat(100));
    assert!(read(&deep).unwrap_err().contains("deep"));
}

proptest::proptest! {
    #[test]
    fn whatever_the_bytes_nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let (mut document, mut seen, mut survey) = (Document::default(), Seen::default(), Survey::default());
        drop(decode(&bytes, &[], &mut document, &mut seen, &mut survey));
    }

    #[test]
    fn every_text_comes_back(title in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{0,40}", key in "[a-z<>&\"'é]{1,8}") {
        let tags = Some(vec![Tag { key: key.clone(), value: title.clone() }]);
        let document = Document { title: Some(title), tags, ..Document::default() };
        let written = crate::encode(crate::Root { name: "Document", namespace: None }, &document);
        proptest::prop_assert_eq!(read(&written), Ok(document));
    }
}
