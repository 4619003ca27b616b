//! No bytes panic the reader of dnstap files, or make it take more than it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::recordings::{Taken, dnstap};

fuzz_target!(|data: &[u8]| {
    for taken in [Taken::Queries, Taken::Responses] {
        let mut count = 0_u64;
        if let Ok(tally) = dnstap::read(&mut &data[..], taken, &mut |_| count += 1) {
            assert_eq!(tally.queries, count);
        }
    }
});
