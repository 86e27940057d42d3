-- images_taken_at: for searches in a span of time that keeps few pictures, and for the first and the last date.
create index images_taken_at on images (taken_at);
