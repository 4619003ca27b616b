//! What is said in the language of whoever asks: `--lang`, else the locale; the gateway's refusals as well.

use super::place::{Ended, Place, free_address};

const GATEWAY: &str = "schema = 1\n[[upstream]]\naddress = \"192.0.2.53\"\n";

fn with_locale(place: &Place, arguments: &[&str], locale: &[(&str, &str)]) -> Ended {
    let mut command = place.command(arguments);
    command.env_remove("LC_ALL").env_remove("LC_MESSAGES").env_remove("LANG").envs(locale.iter().copied());
    let output = command.output().expect("weir starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Asserts the exit code and what is said, wherever it is said.
#[track_caller]
fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    let all = format!("{}{}", ended.out, ended.err);
    for part in parts {
        assert!(all.contains(part), "{part:?} is missing in {ended:#?}");
    }
}

#[test]
fn the_language_is_that_of_the_option_or_of_the_locale_and_the_codes_are_the_same() {
    let place = Place::new();
    place.write("policies/gateway.toml", &format!("{GATEWAY}weigth = 1\n"));
    let english = ["error[E-UNKNOWN-KEY]", "unknown key", "did you mean \"weight\"?", "1 error, 0 warnings"];
    let chinese = ["错误[E-UNKNOWN-KEY]", "未知的键", "是不是想写 \"weight\"？", "1 个错误，0 个警告"];
    let zh = [("LANG", "zh_CN.UTF-8")];
    says(&place.weir(&["check"]), 2, &english);
    says(&with_locale(&place, &["check"], &[]), 2, &english);
    says(&with_locale(&place, &["check"], &zh), 2, &chinese);
    says(&with_locale(&place, &["check"], &[("LC_ALL", "C"), zh[0]]), 2, &english);
    says(&with_locale(&place, &["check", "--lang", "en"], &zh), 2, &english);
    says(&place.weir(&["check", "--lang", "zh"]), 2, &chinese);
    says(&place.weir(&["--lang", "zh", "check"]), 2, &chinese);
    place.weir(&["run", "--lang", "zh"]).fails(2, &["错误[E-UNKNOWN-KEY]", "网关没有启动"]);
    place.weir(&["check", "elsewhere", "--lang", "zh"]).fails(2, &["错误：策略目录 elsewhere：目录不存在"]);
    place.weir(&["status", "--lang", "zh", "--socket", "nowhere.sock"]).fails(1, &["没有网关在运行", "weir run"]);
    place.weir(&["check", "--lang", "fr"]).fails(2, &["fr", "en", "zh"]);
}

#[test]
fn sarif_is_for_code_scanning_and_ends_as_check_does() {
    let place = Place::new();
    place.write("policies/gateway.toml", &format!("{GATEWAY}weigth = 1\n"));
    let ended = place.weir(&["check", "--format", "sarif"]);
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    let log: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!((result["ruleId"].as_str(), result["level"].as_str()), (Some("E-UNKNOWN-KEY"), Some("error")));
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 4);
    place.write("policies/gateway.toml", GATEWAY);
    let clean = place.weir(&["check", "--format", "sarif"]);
    let log: serde_json::Value = serde_json::from_str(&clean.out).unwrap();
    assert_eq!((clean.code, log["runs"][0]["results"].as_array().map(Vec::len)), (Some(0), Some(0)));
}

#[test]
fn a_code_is_explained() {
    let place = Place::new();
    place.weir(&["check", "--explain", "E-RANGE"]).works(&["E-RANGE: a value is outside its bounds"]);
    place.weir(&["check", "--explain", "e-range", "--lang", "zh"]).works(&["E-RANGE：值超出范围"]);
    place.weir(&["check", "--explain", "adblock-url"]).works(&["an adblock rule for a url"]);
    place.weir(&["check", "--explain"]).works(&["E-IO: ", "W-UNUSED: ", "adblock-url: "]);
    place.weir(&["check", "--explain", "E-RAGNE"]).fails(2, &["E-RAGNE", "did you mean \"E-RANGE\"?"]);
    place.weir(&["check", "--explain", "zzzzzzzzzzzz"]).fails(2, &["there is no code"]);
}

#[test]
fn schemas_are_printed_and_written() {
    let place = Place::new();
    place.weir(&["schema"]).works(&["gateway.toml", "filters/*.toml"]);
    let modes: serde_json::Value = serde_json::from_str(&place.weir(&["schema", "modes"]).out).unwrap();
    assert_eq!(modes["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(modes["properties"]["source"]["properties"]["rate"]["maximum"].is_u64());
    place.weir(&["schema", "--out", "schemas"]).works(&["weir-gateway.schema.json", "taplo.toml"]);
    let taplo = std::fs::read_to_string(place.path("schemas/taplo.toml")).unwrap();
    assert!(taplo.contains("**/filters/*.toml") && taplo.contains("weir-filters.schema.json"), "{taplo}");
    for kind in ["gateway", "clients", "access", "limits", "filters", "modes", "tests"] {
        let text = std::fs::read_to_string(place.path(&format!("schemas/weir-{kind}.schema.json"))).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["properties"].is_object(), "{kind}");
    }
    place.weir(&["schema", "gatewey"]).fails(2, &["gatewey", "gateway"]);
}

#[test]
fn a_gateway_refuses_in_the_language_of_whoever_asks() {
    let place = Place::new();
    place.write_gateway(&[free_address()], false, "");
    let _gateway = place.start_lab();
    place
        .ask(&["mode", "no-such-mode", "--for", "5m", "--reason", "x"])
        .fails(2, &["there is no mode \"no-such-mode\""]);
    place
        .ask(&["mode", "no-such-mode", "--for", "5m", "--reason", "x", "--lang", "zh"])
        .fails(2, &["错误：没有模式 \"no-such-mode\""]);
    place
        .ask(&["block", "com", "--for", "5m", "--reason", "x", "--lang", "zh"])
        .fails(2, &["这会拦截顶级域 com", "确实要这样做，就加 --force"]);
}
