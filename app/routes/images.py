"""Pictures: everything under /api/images."""

from uuid import UUID

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.response import File, Stream

from app.answers import hit_answer
from app.archive import zip_chunks
from app.errors import ImageNotFoundError, UploadRefusedError
from app.limits import check_attributes
from app.pictures import find_picture, find_thumbnail, forget_thumbnail
from app.routes.forms import AnyRequest, documented_body, json_object, read_body, read_json
from app.schemas import ImageAnswer, UploadRequest, ZipRequest, image_answer
from app.search import DEFAULT_K, more_like
from app.search_schemas import SimilarAnswer
from app.sending import LocalFiles
from app.service import Service
from app.terms import Term, check_characters, check_collection
from app.uploads import add_image, remove_image
from db.errors import EncoderMismatchError
from db.gallery import Caption, captions_of, find_image, find_images
from db.searching import Filters

LOCAL_FILES = LocalFiles()
MEDIA_TYPES = {"jpeg": "image/jpeg", "mpo": "image/jpeg", "tiff": "image/tiff", "bmp": "image/bmp"}
# a file that somebody else made: shown as the type that was decoded, never run as anything
AS_A_PICTURE_ONLY = {
    "content-security-policy": "default-src 'none'; sandbox",
    "cache-control": "private, max-age=3600",
}


@get("/api/images/{image_id:uuid}", tags=["images"], operation_id="getImage", opt={"problems": (404,)})
async def get_image(image_id: FromPath[UUID], service: NamedDependency[Service]) -> ImageAnswer:
    """Tell what is known about a picture: size, captions, attributes."""
    async with service.pool.connection() as connection:
        found = await find_image(connection, image_id)
        if found is None:
            raise ImageNotFoundError(f"there is no picture {image_id} in the gallery")
        return image_answer(found[0], await captions_of(connection, image_id))


@get(
    "/api/images/{image_id:uuid}/file",
    tags=["images"],
    operation_id="getImageFile",
    responses={200: ResponseSpec(bytes, media_type="image/*", description="The file")},
    opt={"problems": (404, 410)},
)
async def get_file(image_id: FromPath[UUID], service: NamedDependency[Service]) -> File:
    """Send a picture's file as it is."""
    image, path = await find_picture(service, image_id)
    return File(
        path=path,
        filename=path.name,
        media_type=MEDIA_TYPES.get(image.format, f"image/{image.format}"),
        content_disposition_type="inline",
        file_system=LOCAL_FILES,
        headers=AS_A_PICTURE_ONLY,
    )


@get(
    "/api/images/{image_id:uuid}/thumbnail",
    tags=["images"],
    operation_id="getImageThumbnail",
    responses={200: ResponseSpec(bytes, media_type="image/jpeg", description="The thumbnail")},
    opt={"problems": (404, 410, 413)},
)
async def get_thumbnail(image_id: FromPath[UUID], service: NamedDependency[Service]) -> Response[bytes]:
    """Send a picture re-encoded as a small JPEG."""
    thumbnail = await find_thumbnail(service, image_id)
    if isinstance(thumbnail, bytes):
        return Response(thumbnail, media_type="image/jpeg", headers=AS_A_PICTURE_ONLY)
    return File(
        path=thumbnail,
        media_type="image/jpeg",
        content_disposition_type="inline",
        file_system=LOCAL_FILES,
        headers=AS_A_PICTURE_ONLY,
    )


@get(
    "/api/images/{image_id:uuid}/similar",
    tags=["images"],
    operation_id="getSimilarImages",
    opt={"problems": (404,)},
)
async def get_similar(
    image_id: FromPath[UUID],
    service: NamedDependency[Service],
    k: FromQuery[int] = DEFAULT_K,
    collection: FromQuery[str | None] = None,
    attributes: FromQuery[str | None] = None,
) -> SimilarAnswer:
    """Find the pictures most like one of the gallery, without itself."""
    contained = None if attributes is None else json_object("attributes", attributes)
    hits = await more_like(service, image_id, k=k, filters=Filters(collection, contained))
    return SimilarAnswer(image_id=image_id, hits=[hit_answer(hit, [Term(image_id=image_id)]) for hit in hits])


@post(
    "/api/images/zip",
    status_code=200,
    tags=["images"],
    operation_id="zipImages",
    operation_class=documented_body(ZipRequest, None, json=True),
    responses={200: ResponseSpec(bytes, media_type="application/zip", description="The zip")},
    media_type="application/zip",
    opt={"problems": (404,)},
)
async def post_zip(request: AnyRequest, service: NamedDependency[Service]) -> Stream:
    """Send up to 200 pictures' files as one zip; what is not there is named in missing.txt.

    404 if there is no picture of any of the ids.
    """
    asked = await read_json(request, ZipRequest)
    ids = list(dict.fromkeys(asked.ids))
    async with service.pool.connection() as connection:
        found = await find_images(connection, ids)
    if not found:
        raise ImageNotFoundError(f"there is no picture of these {len(ids)} ids in the gallery")
    unknown = [str(image_id) for image_id in ids if image_id not in found]
    pictures = [found[image_id] for image_id in ids if image_id in found]
    return Stream(
        zip_chunks(pictures, unknown, service.upload_dir),
        headers={"content-disposition": 'attachment; filename="pictures.zip"', "cache-control": "no-store"},
    )


@post(
    "/api/images",
    tags=["images"],
    operation_id="addImage",
    operation_class=documented_body(UploadRequest, "image", json=False, required=["image"]),
    responses={200: ResponseSpec(ImageAnswer, description="It was there already")},
    opt={"scope": "write", "problems": (409,)},
)
async def post_image(request: AnyRequest, service: NamedDependency[Service]) -> Response[ImageAnswer]:
    """Take a picture into the gallery: 201 if new, 200 if it was there; new captions replace the old."""
    asked, picture = await read_body(request, UploadRequest, json=False)
    if picture is None:
        raise UploadRefusedError("there is no picture: send it as a file in the field image")
    check_collection(asked.collection)
    check_attributes(asked.attributes)
    for caption in asked.captions:
        check_characters("a caption", caption)
    service, encoder_id = await _claimed(service)
    image, created = await add_image(
        picture.data,
        name=picture.name,
        captions=[Caption(caption.strip()) for caption in asked.captions if caption.strip()],
        attributes=asked.attributes or {},
        collection=asked.collection,
        encode_image=service.images.encode,
        pool=service.writing_pool,
        encoder_id=encoder_id,
        upload_dir=service.upload_dir,
        max_pixels=service.settings.max_pixels,
    )
    async with service.writing_pool.connection() as connection:  # a replica may not have heard of it yet
        captions = await captions_of(connection, image.id)
    return Response(image_answer(image, captions), status_code=201 if created else 200)


async def _claimed(service: Service) -> tuple[Service, int]:
    """Return the service of the gallery's encoder, and that encoder's id."""
    try:
        return service, await service.encoder_id()
    except EncoderMismatchError:  # the gallery may have changed its encoder since
        service = await service.of_active_encoder()
        return service, await service.encoder_id()


@delete(
    "/api/images/{image_id:uuid}",
    tags=["images"],
    operation_id="deleteImage",
    opt={"scope": "write", "problems": (404,)},
)
async def delete_image(image_id: FromPath[UUID], service: NamedDependency[Service]) -> None:
    """Forget a picture: row, captions, vectors, thumbnail, and its file if it was uploaded.

    Files of folders that were indexed in place are never touched.
    """
    if not await remove_image(service.writing_pool, image_id, service.upload_dir):
        raise ImageNotFoundError(f"there is no picture {image_id} in the gallery")
    await forget_thumbnail(service, image_id)
