-- gallery: the view that people query, of the encoder that is active, if any; activate_encoder makes it anew.
--
--   select uri from image_retrieval.gallery order by embedding <=> '[…]' limit 5;
select create_gallery_view((select id from encoders where state = 'active'));
