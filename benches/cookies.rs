//! What a cookie costs a query: judged once or twice, and answered with a new one or the same.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::IpAddr;
use weir::clock::{Moment, Now};
use weir::policy::cookies::{CookieJar, CookieMode, CookiePolicy, Secret, Standing};

fn cookies(c: &mut Criterion) {
    let mut group = c.benchmark_group("cookies");
    let policy = CookiePolicy { mode: CookieMode::Terminate, require: false, badcookies: 1000, secrets: None };
    let jar = CookieJar::new(Secret::new(*b"sixteen of these"));
    let now = Now { at: Moment::from_nanos(1), unix_ms: 1_767_225_600_000 };
    for (family, client) in [("ipv4", "192.0.2.1"), ("ipv6", "2001:db8::1")] {
        let client: IpAddr = client.parse().expect("an address");
        let data = *b"clientck";
        group.bench_function(format!("learn_{family}"), |b| {
            b.iter(|| black_box(policy.answer(&jar, now, client, black_box(&data), Standing::ClientOnly)));
        });
        let cookie = policy.answer(&jar, now, client, &data, Standing::ClientOnly);
        group.bench_function(format!("judge_{family}"), |b| {
            b.iter(|| black_box(policy.judge(&jar, now, client, black_box(&cookie))));
        });
    }
    group.finish();
}

criterion_group!(benches, cookies);
criterion_main!(benches);
