//! No bytes panic the reader of text lines and query logs, or make it take more than it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::recordings::lines;

fuzz_target!(|data: &[u8]| {
    let _ = lines::read(&mut &data[..], &mut |recorded| assert!(recorded.name.as_wire().len() <= 255));
});
