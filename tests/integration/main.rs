//! The one integration binary: every further one would link the AWS SDK again.

mod age;
